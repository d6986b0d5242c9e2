"""The trained crosscoder: encodes raw activations into codes, decodes codes, and is loaded and saved."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from huggingface_hub import HfApi
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.arguments import Indices, Numbers, as_dtype, as_indices, as_numbers
from toolkit.devices import as_device
from toolkit.dictionaries import formats, storage
from toolkit.dictionaries.activation_batches import held
from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.model_card import model_card, read_metrics
from toolkit.dictionaries.rules.rule import rule_of
from toolkit.dictionaries.weights import Weights, fold_weights
from toolkit.tensor_files import check_finite

Activations = Float[Tensor, "*place stream d_model"] | Iterable[object] | Any
"""A vector for each stream, at any number of places; an array, nested lists or what was harvested will do as well."""


class Crosscoder(nn.Module):
    """A trained crosscoder in raw units: it takes activations as the models give them.

    Codes are decoder-norm-weighted as trained, f_k Σ_s‖W_dec,k^s‖, hence comparable between latents; decoder
    rows are divided by the same norm. Tensors: W_enc, W_dec [latent, stream, d_model], b_enc [latent],
    b_dec [stream, d_model], and a threshold on codes: one number for batchtopk, [latent] for jumprelu.
    With one layer the stream axis is the model axis.
    """

    W_enc: Float[Tensor, "latent stream d_model"]
    b_enc: Float[Tensor, " latent"]
    W_dec: Float[Tensor, "latent stream d_model"]
    b_dec: Float[Tensor, "stream d_model"]
    threshold: Float[Tensor, "..."]

    def __init__(self, config: CrosscoderConfig) -> None:
        super().__init__()
        self.config = config
        self._source: str | None = None
        for name, shape in storage.shapes(config).items():
            self.register_buffer(name, torch.zeros(shape))

    def encode(self, x: Activations) -> Float[Tensor, "*place latent"]:
        """Return the codes of raw activations, of one token or of any number on any axes, on the crosscoder's device.

        Raises `ValueError` for another shape.
        """
        remedy = f"give its streams in this order: {', '.join(self.config.streams)}"
        x = self._taken(x, "activations", tuple(self.b_dec.shape), "stream, d_model", remedy)
        flat = x.reshape(-1, self.b_dec.numel())
        codes = torch.relu(torch.addmm(self.b_enc, flat, self.W_enc.flatten(1).t()))
        codes = rule_of(self.config.sparsity).fire(codes, threshold_of(self), self.config.k)
        return codes.view(*x.shape[:-2], len(self.b_enc))

    def decode(
        self, codes: Float[Tensor, "*place latent"] | Iterable[object]
    ) -> Float[Tensor, "*place stream d_model"]:
        """Return the raw activations that codes stand for; raises `ValueError` for another number of latents."""
        codes = self._taken(codes, "codes", tuple(self.b_enc.shape), "latent", "give codes as encode returns them")
        flat = torch.addmm(self.b_dec.flatten(), codes.reshape(-1, len(self.b_enc)), self.W_dec.flatten(1))
        return flat.view(*codes.shape[:-1], *self.b_dec.shape)

    def forward(self, x: Activations) -> Float[Tensor, "*place stream d_model"]:
        """Return the reconstruction of raw activations; raises `ValueError` as `encode` does."""
        return self.decode(self.encode(x))

    def _taken(self, values: object, noun: str, last: tuple[int, ...], axes: str, remedy: str) -> Tensor:
        """The values as a tensor of the weights' type and on their device, whose last axes are these."""
        values = held(values)
        try:
            tensor = values if isinstance(values, Tensor) else torch.tensor(values)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{noun} are {type(values).__name__}: give a tensor or an array") from error
        if tensor.shape[-len(last) :] != last:
            raise ValueError(
                f"{noun} of shape {tuple(tensor.shape)}: this crosscoder takes [..., {axes}], whose last axes must be"
                f" {last}; {remedy}"
            )
        return tensor.to(self.b_dec)

    def decoder_norms(self) -> Float[Tensor, "latent stream"]:
        """Return the Euclidean norm of each decoder row per stream, in raw units."""
        return self.W_dec.norm(dim=2)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `crosscoder.safetensors` and `config.json`; what else `config.json` held is kept."""
        storage.save(self.config, self.state_dict(), Path(folder))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """How another library's checkpoint was read, one line for each point; empty for a crosscoder trained here."""
        return self.config.assumptions

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        scale: Numbers | None = None,
        layers: Indices | None = None,
        dtype: str | torch.dtype = torch.float32,
        device: str | int | torch.device = "auto",
    ) -> "Crosscoder":
        """Load from a folder, a file or a hub repository (`owner/name`, or `owner/name/subfolder`).

        `dtype` and `device` are those of the weights, auto being the device that models are placed on by default;
        activations are taken in any type and from any device.

        Besides its own files it reads the checkpoints of dictionary_learning (with crosscoder_learning and
        diffing-toolkit), crosscoder-model-diff-replication and crosscode, folded to take raw activations;
        `assumptions` then says how they were read. For those, `layers` names the layers whose inputs the streams
        are, and `scale` the factor per stream that training applied to activations, √d / mean‖x‖, where the
        checkpoint does not store it.

        Raises FileNotFoundError for a path or repository that cannot be reached, and ValueError for files
        that are not a crosscoder's: each says what was expected and what was found. A pickle that holds more than
        tensors is refused.
        """
        weights, dtype, device = (storage.WEIGHTS_FILE, *formats.WEIGHTS_FILES), as_dtype(dtype), as_device(device)
        if layers is not None:
            layers = as_indices(layers, "layer")
        if scale is not None:
            scale = as_numbers(scale, "scale")
        place = storage.locate(source, revision, weights, formats.SETTINGS_FILES)
        checkpoint = formats.find_checkpoint(place)
        if checkpoint is not None:
            config, tensors = formats.load(checkpoint, scale, layers)
        elif scale is None and layers is None:
            config, tensors = storage.load(place)
        else:
            raise ValueError(f"{source} states its own scale and layers: leave out scale= and layers=")
        check_finite(source, tensors)
        crosscoder = cls(config)
        crosscoder.load_state_dict(tensors)
        crosscoder._source = str(source)
        return crosscoder.to(device=device, dtype=dtype)

    def __repr__(self) -> str:
        about = self.config
        loaded = f"; from {self._source}" if self._source else ""
        return (
            f"Crosscoder: {about.n_latents} latents, {about.rule}, d_model {about.d_model}\n"
            f"  of {about.origins}; {about.site}{loaded}"
        )

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        license: str | None = None,
        metrics: Mapping[str, object] | None = None,
    ) -> str:
        """Upload to a hub repository, made if need be, with a model card, and return the commit's address.

        license: as the hub names it, e.g. apache-2.0; without it the card states none.
        metrics: what the card says of its quality, named as in a run's `metrics.json`, which is read by default where
        the crosscoder was loaded from a run folder.
        """
        known = read_metrics(self._source) if metrics is None else metrics
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            model_card(self.config, repo_id, metrics=known, license=license).save(Path(folder) / "README.md")
            api = HfApi()
            api.create_repo(repo_id, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, revision=revision))


def fold(config: CrosscoderConfig, weights: Weights, threshold: Tensor | None) -> Crosscoder:
    """Return the crosscoder in raw units that equals training weights on scaled activations.

    Codes are weighted by Σ_s‖W_dec,k^s‖ in the units of training, which a threshold is in already.
    """
    scale = torch.tensor(config.scale, device=weights.b_dec.device)
    norms = weights.decoder_norms(config.n_streams).sum(dim=1)
    tensors = fold_weights(weights, norms, scale)
    crosscoder = Crosscoder(config).to(weights.b_dec.device)
    crosscoder.load_state_dict(tensors if threshold is None else tensors | {"threshold": threshold})
    return crosscoder


def threshold_of(crosscoder: Crosscoder) -> Float[Tensor, "..."]:
    """Return the threshold on codes; 0 where the sparsity rule has none."""
    return getattr(crosscoder, "threshold", crosscoder.b_enc.new_zeros(()))


def training_scale(crosscoder: Crosscoder) -> Float[Tensor, " stream"]:
    """Return the factor that training applied to each stream's activations; ones where none is recorded.

    A raw decoder row times its stream's factor is the row in units of training, where all streams have the same mean
    norm.
    """
    recorded = crosscoder.config.scale or (1.0,) * crosscoder.config.n_streams
    return crosscoder.W_dec.new_tensor(recorded)


def check_crosscoder(crosscoder: object) -> None:
    """Raise `ValueError` for anything but a crosscoder; the message says how to get one."""
    if not isinstance(crosscoder, Crosscoder):
        raise ValueError(
            f"the crosscoder is a {type(crosscoder).__name__}: give one that Crosscoder.from_pretrained(folder) or"
            " train_crosscoder returns"
        )


def check_latents(latents: Indices, n_latents: int) -> list[int]:
    """Return one latent or several as ints; raises `ValueError` for none, or one that does not exist."""
    found = list(as_indices(latents, "latent"))
    if not found:
        raise ValueError("no latent is named: give at least one")
    if missing := [latent for latent in found if not 0 <= latent < n_latents]:
        raise ValueError(f"latent {missing[0]} does not exist: the crosscoder has latents 0 to {n_latents - 1}")
    return found
