"""Runs the rest of one model on the front of another, as an edit of the residual stream."""

from typing import SupportsIndex

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.arguments import as_index
from toolkit.models.model.edits import Change, Edit
from toolkit.models.model.layers import check_layers
from toolkit.models.model.step import Step
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.ndif.server_side import replacement
from toolkit.models.text.rows import first_tokens
from toolkit.stitching.maps import AffineMap


class Stitch(Change):
    """Puts the mapped stream of another model's front in the place of the receiver's own, at the input of `layer`.

    Pass it as the `edit` of the receiver's `generate`, `logits` or `residual`. The front reads the same tokens, up to
    the input of its `front_layer` (default: the same number) and without any edit; the map turns that into the
    receiver's stream at every token, in float32. A prompt is stitched too, whatever `edit_prompt` says: the receiver's
    own first layers have no part in what it says. While it generates, the front reads the new tokens at each step, from
    a cache of its own.
    Raises `ValueError` for a layer that the front does not have and for a map of another width than the front's.
    """

    def __init__(
        self, front: TracedModel, map: AffineMap, layer: SupportsIndex, front_layer: SupportsIndex | None = None
    ) -> None:
        self.front, self.layer = front, as_index(layer, "layer")
        (self.front_layer,) = check_layers(layer if front_layer is None else front_layer, front.n_layers)
        front.check_loaded([self.front_layer])
        if map.weight.shape[0] != front.d_model:
            raise ValueError(
                f"the map takes a stream of width {map.weight.shape[0]}, and the front ({front.source}) has width"
                f" {front.d_model}: give a map that was fitted from this front"
            )
        weight, bias, first_bias = (
            each.to(front.device, torch.float32) for each in (map.weight, map.bias, map.first_bias)
        )
        self.map = AffineMap(weight=weight, bias=bias, first_bias=first_bias)

    def __repr__(self) -> str:
        return f"Stitch of the front of {self.front.source} up to layer {self.front_layer}, in at layer {self.layer}"

    @torch.no_grad()
    def of_text(self, input_ids: Int[Tensor, "row position"], attention_mask: Tensor) -> Edit:
        """Return the edit for whole texts; raises `ValueError` with `past`."""
        if input_ids.shape != attention_mask.shape:
            raise ValueError("Stitch reads whole texts, and these tokens follow others: leave out past")
        (stream,) = self.front.residual(input_ids, attention_mask, self.front_layer)
        return self._edit(stream, attention_mask)

    @torch.no_grad()
    def at(self, step: Step) -> Edit:
        """Return the edit for a step's new tokens; raises `ValueError` for a front that keeps no cache of its own."""
        if not self.front.place.keeps_caches:
            raise ValueError(
                f"the front ({self.front.source}) is on NDIF or has split layers, where no cache stays between two"
                " steps of a generation: open it without remote and tensor_parallel to generate"
            )
        past = step.caches.of(self, self.front)
        (stream,) = self.front.residual(step.input_ids, step.attention_mask, self.front_layer, past=past)
        return self._edit(stream, step.attention_mask)

    def mapped(
        self, stream: Float[Tensor, "row position d_front"], attention_mask: Int[Tensor, "row past_and_position"]
    ) -> Float[Tensor, "row position d_rest"]:
        """Return the receiver's stream for tokens of which the front's, at `front_layer`, was read before."""
        first = first_tokens(attention_mask)[:, -stream.shape[1] :]
        return self.map(stream.to(self.map.weight), first)

    def _edit(self, stream: Tensor, attention_mask: Tensor) -> Edit:
        positions = attention_mask.to(stream.device).bool()[:, -stream.shape[1] :]
        return Edit(
            layer=self.layer,
            function=replacement,
            operands=(self.mapped(stream, attention_mask)[positions],),
            positions=positions,
            covers_prompt=True,
        )
