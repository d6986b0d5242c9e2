"""Runs the rest of one model on the front of another, as an edit of the residual stream."""

from typing import SupportsIndex

import torch
from jaxtyping import Float, Int
from torch import Tensor

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
        self.front, self.layer = front, int(layer)
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
        return self.of_stream(stream, attention_mask)

    @torch.no_grad()
    def at(self, step: Step) -> Edit:
        """Return the edit for a step's new tokens."""
        past = step.caches.of(self, self.front)
        (stream,) = self.front.residual(step.input_ids, step.attention_mask, self.front_layer, past=past)
        return self.of_stream(stream, step.attention_mask)

    def of_stream(
        self, stream: Float[Tensor, "row position d_front"], attention_mask: Int[Tensor, "row past_and_position"]
    ) -> Edit:
        """Return the edit for tokens of which the front's stream at `front_layer` was read before."""
        mask = attention_mask.to(stream.device)
        positions, first = (each[:, -stream.shape[1] :] for each in (mask.bool(), first_tokens(mask)))
        mapped = self.map(stream.to(self.map.weight), first)
        return Edit(
            layer=self.layer,
            function=replacement,
            operands=(mapped[positions],),
            positions=positions,
            covers_prompt=True,
        )
