"""The local replacement model: a model on one prompt, linear between token embeddings, latents and logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.modes import Mode
from toolkit.attribution.decoder_layer import DecoderLayer, layers_in_mode, normed, plain_layers
from toolkit.attribution.frozen_layer import FrozenLayer
from toolkit.models.model.layers import final_norm_path, layers_path
from toolkit.models.text.inputs import check_context, check_range

BYTES = 2**28
"""Memory for one gradient of a layer's hidden units; several are held at a time."""
EXACT_UP_TO = 512
"""Tokens of a prompt up to which all is computed in float64 by default; beyond, memory and time count."""
GATHERED = 2**22
"""Numbers of a gradient that are copied at a time, for the latents that fired."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Edges:
    """The weights of all edges into some targets, one target a row: they sum to the target's value."""

    latents: Float[Tensor, "target source"]
    """From the first latents in the order of `LocalReplacement.latents`; later ones have no edge to these targets."""
    tokens: Float[Tensor, "target position"]
    bias: Float[Tensor, " target"]
    """From all biases: of values, output and MLP projections, and of decoders."""
    values: Float[Tensor, " target"]
    """The targets' values."""

    def errors(self) -> Float[Tensor, " target"]:
        """How far the sum of all edges is from the value, over the value."""
        summed = self.latents.double().sum(dim=1) + self.tokens.double().sum(dim=1) + self.bias.double()
        return (summed - self.values.double()).abs() / self.values.double().abs()


class LocalReplacement:
    """A model on one prompt, with norms, attention and gates held fixed; its latents are constants.

    Edges are exact in it: the weight of an edge is what its source adds to its target.
    """

    @torch.no_grad()
    def __init__(
        self,
        module: PreTrainedModel,
        layers: Sequence[DecoderLayer],
        token_ids: Sequence[int],
        dtype: torch.dtype | None = None,
    ) -> None:
        check_context(len(token_ids), module.config.max_position_embeddings, remedy="attribute a shorter prompt")
        decoder: Any = module.get_submodule(layers_path(module).rpartition(".")[0])
        self.norm: Any = module.get_submodule(final_norm_path(module))
        self.unembedding: Tensor = module.get_output_embeddings().weight
        ids = torch.tensor(token_ids, device=self.unembedding.device)
        check_range(ids[None], module.config.vocab_size)
        self.dtype = dtype or (torch.float64 if len(ids) <= EXACT_UP_TO else torch.float32)
        self.token_ids, self.embedded = tuple(token_ids), decoder.get_input_embeddings()(ids).to(self.dtype)
        self.rotary = decoder.rotary_emb(self.embedded[None], torch.arange(len(ids), device=ids.device)[None])
        self.layers: list[FrozenLayer] = []
        stream = self.embedded
        for each in layers:
            self.layers.append(FrozenLayer(each, stream, self.rotary))
            stream = self.layers[-1].out
        self.last, self.last_factor = normed(self.norm, stream[-1])
        self.mean_row = self.unembedding.mean(dim=0, dtype=torch.float64).to(self.dtype)
        self.latents = torch.cat([self._named(number, layer) for number, layer in enumerate(self.layers)])
        self.activations = torch.cat([layer.activations for layer in self.layers])
        self.firsts = [0]
        for layer in self.layers:
            self.firsts.append(self.firsts[-1] + len(layer.activations))

    dtype: torch.dtype
    """The type that it is computed in."""
    latents: Int[Tensor, "latent 3"]
    """Layer, position and index of each latent that fired, in this order."""
    activations: Float[Tensor, " latent"]
    """What the latent's decoder row is multiplied by."""
    firsts: list[int]
    """Number of each layer's first latent; and, last, how many there are."""

    @classmethod
    def of(
        cls,
        adapted: AdaptedModel,
        token_ids: Sequence[int],
        mode: Mode | None = None,
        dtype: torch.dtype | None = None,
    ) -> "LocalReplacement":
        """Of an adapted model in a mode, by default the adapter's.

        Raises `ValueError` for a prompt longer than the context, an id without an embedding, and an architecture that
        is not written out.
        """
        chosen = modes.adapter(adapted.n_layers) if mode is None else mode
        return cls(adapted.module, layers_in_mode(adapted.module, chosen), token_ids, dtype)

    @classmethod
    def of_plain(
        cls, module: PreTrainedModel, token_ids: Sequence[int], dtype: torch.dtype | None = None
    ) -> "LocalReplacement":
        """Of a model as it is, without latents: all its edges go from tokens and biases to logits. Raises as `of`."""
        return cls(module, plain_layers(module), token_ids, dtype)

    @torch.no_grad()
    def logits(self) -> Float[Tensor, " vocab"]:
        """The logits behind the prompt."""
        return torch.nn.functional.linear(self.last, self.unembedding.to(self.last))

    @torch.no_grad()
    def edges_to_logits(self, logit_ids: Sequence[int]) -> Edges:
        """Edges into logits behind the last token, each less the mean of all logits."""
        rows = self.unembedding[list(logit_ids)].to(self.last) - self.mean_row
        gradient = self.last.new_zeros(len(self.token_ids), len(rows), len(self.last))
        gradient[-1] = rows * self.norm.weight.to(rows) * self.last_factor
        return self._pulled(gradient, len(self.layers), rows.new_zeros(len(rows)), rows @ self.last)

    @torch.no_grad()
    def edges_to_latents(self, layer: int, positions: Int[Tensor, " target"], indices: Int[Tensor, " target"]) -> Edges:
        """Edges into the pre-activations, less the encoder's bias, of latents of one layer; they need not fire.

        Their encoder rows are injected at the MLP's input, behind its norm.
        """
        positions, indices = (each.to(self.last.device) for each in (positions, indices))
        frozen, bias = self.layers[layer], self.last.new_zeros(len(positions))
        parts = frozen.layer
        rows = parts.transcoder.W_enc[indices].to(self.last)
        middle = rows * parts.mlp_norm.weight.to(rows) * frozen.mlp_factor[positions]
        gradient = frozen.pull_from_middle(middle, positions, bias)
        return self._pulled(gradient, layer, bias, (rows * frozen.mlp_input[positions]).sum(dim=1))

    def targets_at_once(self, layer: int, positions: int) -> int:
        """How many targets of a layer, at positions up to this many, fit the memory."""
        return max(1, BYTES // (positions * self.layers[layer].gate_slope.shape[1] * self.last.element_size()))

    def _pulled(self, gradient: Tensor, layer: int, bias: Tensor, values: Tensor) -> Edges:
        """Pull the gradient of the input of `layer`, or of the last layer's output, down to the embeddings."""
        latents = gradient.new_zeros(gradient.shape[1], self.firsts[layer])
        at = (slice(0, len(gradient)), None)
        for number in reversed(range(layer)):
            frozen = self.layers[number]
            self._to_latents(frozen, gradient, latents[:, self.firsts[number] :])
            gradient = frozen.pull_through_mlp(gradient, at, bias)
            gradient = frozen.pull_through_attention(gradient, bias)
        tokens = gradient.new_zeros(gradient.shape[1], len(self.token_ids))
        tokens[:, : len(gradient)] = torch.einsum("ptd,pd->tp", gradient, self.embedded[: len(gradient)])
        return Edges(latents=latents, tokens=tokens, bias=bias, values=values)

    def _to_latents(self, frozen: FrozenLayer, gradient: Tensor, found: Tensor) -> None:
        """Write the edges from one layer's latents, which add to its output."""
        n = int(torch.searchsorted(frozen.positions, len(gradient)))
        for part in torch.arange(n, device=gradient.device).split(max(1, GATHERED // gradient[0].numel())):
            rows = frozen.layer.transcoder.W_dec[frozen.indices[part]].to(gradient)
            weights = (gradient[frozen.positions[part]] @ rows[:, :, None])[..., 0]
            found[:, part] = (weights * frozen.activations[part, None]).T

    def _named(self, number: int, layer: FrozenLayer) -> Tensor:
        return torch.stack([torch.full_like(layer.positions, number), layer.positions, layer.indices], dim=1)
