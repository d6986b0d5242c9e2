"""The crosscoder for use: raw activations in, codes out, and back; loaded and saved as on the hub."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import HfApi
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.dictionaries import storage
from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.sparsity import topk_mask
from toolkit.dictionaries.weights import EPSILON, Weights


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

    @classmethod
    def from_pretrained(cls, source: str | Path, *, revision: str | None = None) -> "Crosscoder":
        """Load from a folder or a hub repository.

        Raises FileNotFoundError for a path or repository that cannot be reached, and ValueError for files
        that are not a crosscoder's: each says what was expected and what was found.
        """
        config, tensors = storage.load(str(source), revision)
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

    With s the scale of a stream and n_k = Σ_s‖W_dec,k^s‖: W_enc ↦ n_k s W_enc, b_enc ↦ n_k b_enc,
    W_dec ↦ W_dec / (n_k s), b_dec ↦ b_dec / s. A threshold is in units of the weighted codes already.
    """
    by_stream = (config.n_streams, config.d_model)
    scale = torch.tensor(config.scale, device=weights.b_dec.device)[:, None]
    norms = weights.decoder_norms(config.n_streams).sum(dim=1).clamp(min=EPSILON)
    tensors = {
        "W_enc": weights.W_enc.unflatten(1, by_stream) * norms[:, None, None] * scale,
        "b_enc": weights.b_enc * norms,
        "W_dec": weights.W_dec.unflatten(1, by_stream) / norms[:, None, None] / scale,
        "b_dec": weights.b_dec.unflatten(0, by_stream) / scale,
    }
    crosscoder = Crosscoder(config).to(weights.b_dec.device)
    crosscoder.load_state_dict(tensors if threshold is None else tensors | {"threshold": threshold})
    return crosscoder
