"""An edit: a pure function of the residual stream at one site, the tensors it needs, the positions it applies to."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import SupportsIndex

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.arguments import as_index
from toolkit.models.places.ndif.server_side import edited

PlainEdit = tuple[int, Callable[..., Tensor], tuple[Tensor, ...], Tensor | None]
"""Layer, function, operands and positions, for a server that knows no `Edit`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit:
    """Changes the residual stream at the input of decoder layer `layer`, and nothing else.

    The function sees the stream [row, position, d_model], or its lines [token, d_model] at `positions` where those are
    given, and then each of `operands`; it depends on these alone, so that an edit can run wherever the model runs.
    """

    layer: SupportsIndex
    """The site: transformers' `hidden_states[layer]`."""
    function: Callable[..., Float[Tensor, "*place d_model"]]
    """(residual, *operands) to the changed residual."""
    operands: tuple[Float[Tensor, "_ _ d_model"] | Float[Tensor, "token d_model"], ...] = ()
    """What the function needs beside the stream: one entry a row, or one for all; or one line for each of `positions`,
    rows one after the other."""
    positions: Bool[Tensor, "row position"] | None = None
    """Where it applies; everywhere if None."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer", as_index(self.layer, "layer"))

    def __call__(self, residual: Float[Tensor, "row position d_model"]) -> Float[Tensor, "row position d_model"]:
        """Return the changed stream, in the type of the one given."""
        return edited(residual, self.plain())

    def plain(self) -> PlainEdit:
        """The edit as a tuple, which can be sent to where a model runs."""
        return int(self.layer), self.function, self.operands, self.positions

    def row_bytes(self, rows: int) -> Int[Tensor, " row"]:
        """Bytes that the edit has for each of so many rows, beside what it has for all."""
        own = torch.full((rows,), 0 if self.positions is None else self.positions.shape[1])
        for operand in self.operands:
            if len(operand) > 1:
                lines = 1 if operand.ndim == 3 or self.positions is None else self.positions.sum(dim=1).cpu()
                own += operand[0].nbytes * lines
        return own

    def rows(self, chosen: Int[Tensor, " chosen"]) -> "Edit":
        """The same edit for some of the rows, in the order given."""
        return replace(
            self,
            operands=tuple(self._of_rows(operand, chosen.to(operand.device)) for operand in self.operands),
            positions=None if self.positions is None else self.positions[chosen.to(self.positions.device)],
        )

    def after(self, position: int) -> "Edit":
        """The same edit of a text whose tokens before `position` are left out; it must not change those."""
        assert self.positions is not None, "it changes what is left out"
        assert not self.positions[:, :position].any(), "it changes what is left out"
        return replace(
            self,
            operands=tuple(o if o.ndim == 2 or o.shape[1] == 1 else o[:, position:] for o in self.operands),
            positions=self.positions[:, position:],
        )

    def _of_rows(self, operand: Tensor, chosen: Tensor) -> Tensor:
        if len(operand) == 1:
            return operand
        if operand.ndim == 3:
            return operand[chosen]
        assert self.positions is not None
        of_row = operand.split(self.positions.sum(dim=1).tolist())
        return torch.cat([of_row[row] for row in chosen.tolist()])
