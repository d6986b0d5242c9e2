"""Transcoder adapters: one sparse transcoder for each layer, which together stand for what changed in the MLPs."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.ranges import Count, check_ranges


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Shape and origin of an adapter: all that its tensors do not record."""

    d_model: Count
    """Width of the residual stream."""
    n_layers: Count
    """Decoder layers of the models."""
    n_latents: Count
    """Latents of each layer."""
    sources: tuple[str, ...] = ()
    """Path or repository of the base and of the distilled model; empty when unknown."""
    fingerprints: tuple[str, ...] = ()
    """What tells these two models' weights apart from all others; empty when unknown."""
    base_mlps: tuple[str, ...] = ()
    """Hash of the base model's MLP of each layer, where a published checkpoint held it; empty when unknown."""
    distilled_rest: tuple[str, ...] = ()
    """Likewise of all else: of each layer of the distilled model, then of embeddings, last norm and head together."""
    assumptions: tuple[str, ...] = ()
    """How another library's checkpoint was read, one line for each point; empty for an adapter trained here."""

    def __post_init__(self) -> None:
        check_ranges(self)


class Transcoder(nn.Module):
    """T(x) = W_decᵀ ReLU(W_enc x + b_enc) + b_dec, of the input of one layer's MLP.

    Tensors: W_enc, W_dec [latent, d_model], b_enc [latent], b_dec [d_model]. Source: Hu et al. 2026, section 3.
    """

    def __init__(self, d_model: int, n_latents: int) -> None:
        super().__init__()
        self.W_enc = nn.Parameter(torch.zeros(n_latents, d_model))
        self.b_enc = nn.Parameter(torch.zeros(n_latents))
        self.W_dec = nn.Parameter(torch.zeros(n_latents, d_model))
        self.b_dec = nn.Parameter(torch.zeros(d_model))

    def encode(self, x: Float[Tensor, "*place d_model"]) -> Float[Tensor, "*place latent"]:
        """Return the codes of the MLP's input, in its type and on the transcoder's device."""
        x = x.to(self.W_enc.device)
        return torch.relu(nn.functional.linear(x, self.W_enc.to(x.dtype), self.b_enc.to(x.dtype)))

    def decode(self, codes: Float[Tensor, "*place latent"]) -> Float[Tensor, "*place d_model"]:
        """Return what codes add to the MLP's output, without the decoder's bias."""
        codes = codes.to(self.W_dec.device)
        return codes @ self.W_dec.to(codes.dtype)


class Adapter(nn.Module):
    """The transcoders of all layers, from first to last. Latents are named by layer and index."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Transcoder(config.d_model, config.n_latents) for _ in range(config.n_layers))

    @classmethod
    def initialised(cls, config: AdapterConfig, generator: torch.Generator) -> "Adapter":
        """Return an adapter as training starts: encoders uniform within ±1/√d_model, all else 0."""
        adapter = cls(config)
        reach = config.d_model**-0.5
        for transcoder in adapter.transcoders:
            drawn = torch.rand(transcoder.W_enc.shape, generator=generator)
            transcoder.W_enc.data.copy_((drawn * 2 - 1) * reach)
        return adapter

    @property
    def transcoders(self) -> Iterator[Transcoder]:
        """The transcoders, from the first layer to the last."""
        for each in self.layers:
            assert isinstance(each, Transcoder)
            yield each

    def __getitem__(self, layer: int) -> Transcoder:
        found = self.layers[layer]
        assert isinstance(found, Transcoder)
        return found

    def __repr__(self) -> str:
        about = self.config
        return f"Adapter: {about.n_latents:,} latents in each of {about.n_layers} layers, d_model {about.d_model}"
