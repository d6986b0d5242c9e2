"""The crosscoder for use: raw activations in, codes out, and back; loaded and saved as on the hub."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import HfApi
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.dictionaries import formats, storage
from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.folding import fold_weights
from toolkit.dictionaries.sparsity import topk_mask
from toolkit.dictionaries.weights import Weights


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
        for name, shape in storage.shapes(config).items():
            self.register_buffer(name, torch.zeros(shape))

    def encode(self, x: Float[Tensor, "token stream d_model"]) -> Float[Tensor, "token latent"]:
        """Return the codes of raw activations."""
        flat = x.to(self.W_enc.dtype).flatten(1)
        codes = torch.relu(torch.addmm(self.b_enc, flat, self.W_enc.flatten(1).t()))
        if self.config.sparsity == "topk":
            return codes * topk_mask(codes, self.config.k)
        if self.config.sparsity in ("batchtopk", "jumprelu"):
            return codes * (codes > self.threshold)
        return codes

    def decode(self, codes: Float[Tensor, "token latent"]) -> Float[Tensor, "token stream d_model"]:
        """Return the raw activations that codes stand for."""
        flat = torch.addmm(self.b_dec.flatten(), codes, self.W_dec.flatten(1))
        return flat.view(-1, *self.b_dec.shape)

    def forward(self, x: Float[Tensor, "token stream d_model"]) -> Float[Tensor, "token stream d_model"]:
        """Return the reconstruction of raw activations."""
        return self.decode(self.encode(x))

    def decoder_norms(self) -> Float[Tensor, "latent stream"]:
        """Return the Euclidean norm of each decoder row per stream, in raw units."""
        return self.W_dec.norm(dim=2)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `crosscoder.safetensors` and `config.json`; what else `config.json` held is kept."""
        storage.save(self.config, self.state_dict(), Path(folder))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """How another library's checkpoint was read, a line a subject; empty for a crosscoder trained here."""
        return self.config.assumptions

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        scale: Sequence[float] | None = None,
        layers: Sequence[int] | None = None,
    ) -> "Crosscoder":
        """Load from a folder, a file or a hub repository (`owner/name`, or `owner/name/subfolder`).

        Besides its own files it reads the checkpoints of dictionary_learning (with crosscoder_learning and
        diffing-toolkit), crosscoder-model-diff-replication and crosscode, folded to take raw activations;
        `assumptions` then says how they were read. For those, `layers` names the layers whose inputs the streams
        are, and `scale` the factor per stream that training applied to activations, √d / mean‖x‖, where the
        checkpoint does not store it.

        Raises FileNotFoundError for a path or repository that cannot be reached, and ValueError for files
        that are not a crosscoder's: each says what was expected and what was found. A pickle that holds more than
        tensors is refused.
        """
        weights = (storage.WEIGHTS_FILE, *formats.WEIGHTS_FILES)
        place = storage.locate(str(source), revision, weights, formats.SETTINGS_FILES)
        checkpoint = formats.find_checkpoint(place)
        if checkpoint is not None:
            config, tensors = formats.load(checkpoint, scale, layers)
        elif scale is None and layers is None:
            config, tensors = storage.load(place)
        else:
            raise ValueError(f"{source} states its own scale and layers: leave out scale= and layers=")
        crosscoder = cls(config)
        crosscoder.load_state_dict(tensors)
        return crosscoder

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, revision: str | None = None) -> str:
        """Upload to a hub repository, made if need be, and return the commit's address."""
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
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
