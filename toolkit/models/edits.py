"""An edit: a pure function of the residual stream at one site, the tensors it needs, the positions it applies to."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit:
    """Changes the residual stream at the input of decoder layer `layer`, and nothing else.

    The function sees the stream [row, position, d_model] and then each of `operands`; it depends on these alone, so
    that an edit can run wherever the model runs.
    """

    layer: int
    """The site: transformers' `hidden_states[layer]`."""
    function: Callable[..., Float[Tensor, "row position d_model"]]
    """(residual, *operands) to the changed residual."""
    operands: tuple[Float[Tensor, "_ _ d_model"], ...] = ()
    """What the function needs beside the stream: one entry a row, or one for all."""
    positions: Bool[Tensor, "row position"] | None = None
    """Where it applies; everywhere if None."""

    def __call__(self, residual: Float[Tensor, "row position d_model"]) -> Float[Tensor, "row position d_model"]:
        """Return the changed stream, in the type of the one given."""
        operands = [operand.to(residual) for operand in self.operands]
        changed = self.function(residual, *operands).to(residual)
        if self.positions is None:
            return changed
        return torch.where(self.positions.to(residual.device)[..., None], changed, residual)

    def rows(self, chosen: Int[Tensor, " chosen"]) -> "Edit":
        """The same edit for some of the rows, in the order given."""
        return replace(
            self,
            operands=tuple(o if len(o) == 1 else o[chosen.to(o.device)] for o in self.operands),
            positions=None if self.positions is None else self.positions[chosen.to(self.positions.device)],
        )
