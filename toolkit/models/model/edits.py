"""Edits of the residual stream, which `edit=` takes: one, several, or one that is made anew at each step."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import SupportsIndex

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.arguments import as_index
from toolkit.models.model.step import Step
from toolkit.models.places.ndif.server_side import edited

PlainEdit = tuple[int, Callable[..., Tensor], tuple[Tensor, ...], Tensor | None]
"""Layer, function, operands and positions, for a server that knows no `Edit`."""


class Change(ABC):
    """A change of the residual stream. `a + b` makes both changes; at one site a comes first, then b."""

    @property
    def parts(self) -> "tuple[Change, ...]":
        """The changes that it consists of, in order."""
        return (self,)

    def __add__(self, other: "Change") -> "Change":
        if not isinstance(other, Change):
            return NotImplemented
        return Edits((*self.parts, *other.parts))

    @abstractmethod
    def of_text(
        self, input_ids: Int[Tensor, "row position"], attention_mask: Int[Tensor, "row past_and_position"]
    ) -> "Edit | Edits":
        """Return the change as data, for whole texts that are read in one pass."""

    @abstractmethod
    def at(self, step: Step) -> "Edit | Edits":
        """Return the change as data, for the tokens that a generation reads in this step."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit(Change):
    """Changes the residual stream at the input of decoder layer `layer`, and nothing else.

    The function sees the stream [row, position, d_model], or its lines [token, d_model] at `positions` where those are
    given, and then each of `operands`; it depends on these alone, so that an edit can run wherever the model runs.
    """

    layer: SupportsIndex
    """The site: transformers' `hidden_states[layer]`."""
    function: Callable[..., Float[Tensor, "*place d_model"]]
    """(residual, *operands) to the changed residual."""
    operands: tuple[Float[Tensor, "_ _ d_model"] | Float[Tensor, "token d_model"], ...] = ()
    """Tensors that the function takes beside the stream: one entry for each row, or one for all; or one line for each
    of `positions`, row after row."""
    positions: Bool[Tensor, "row position"] | None = None
    """Positions that the edit changes; all if None."""
    covers_prompt: bool = False
    """Whether a generation's prompts are changed too, whatever `Sampling.edit_prompt` says."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer", as_index(self.layer, "layer"))

    def __call__(self, residual: Float[Tensor, "row position d_model"]) -> Float[Tensor, "row position d_model"]:
        """Return the changed stream, in the type of the one given."""
        return edited(residual, *self.plain())

    def __repr__(self) -> str:
        where = "everywhere" if self.positions is None else f"at {int(self.positions.sum()):,} positions"
        name = getattr(self.function, "__name__", "a function")
        return f"Edit of the stream at layer {self.layer}, {where}: {name} with {len(self.operands)} tensors"

    @property
    def edits(self) -> "tuple[Edit, ...]":
        """The edit itself, as one of several."""
        return (self,)

    @property
    def layers(self) -> tuple[int, ...]:
        """Its site."""
        return (int(self.layer),)

    def of_text(self, input_ids: Tensor, attention_mask: Tensor) -> "Edit":
        """The edit itself."""
        return self

    def at(self, step: Step) -> "Edit":
        """The edit for the rows that are not finished."""
        return self.rows(step.rows)

    def plain(self) -> list[PlainEdit]:
        """The edit as a tuple in a list, which can be sent to where a model runs."""
        return [(int(self.layer), self.function, self.operands, self.positions)]

    def row_bytes(self, rows: int) -> Int[Tensor, " row"]:
        """Return the bytes of the edit's tensors that belong to each of the rows alone."""
        own = torch.full((rows,), 0 if self.positions is None else self.positions.shape[1])
        for operand in self.operands:
            if len(operand) > 1:
                lines = 1 if operand.ndim == 3 or self.positions is None else self.positions.sum(dim=1).cpu()
                own += operand[0].nbytes * lines
        return own

    def rows(self, chosen: Int[Tensor, " chosen"]) -> "Edit":
        """The same edit for some of the rows, in the order given."""
        if self.positions is None and all(len(operand) == 1 for operand in self.operands):
            return self
        if self.positions is not None and chosen.tolist() == [*range(len(self.positions))]:
            return self
        return replace(
            self,
            operands=tuple(self._of_rows(operand, chosen.to(operand.device)) for operand in self.operands),
            positions=None if self.positions is None else self.positions[chosen.to(self.positions.device)],
        )

    def only(self, chosen: Bool[Tensor, "row position"]) -> "Edit":
        """The same edit at those of its positions that are chosen."""
        if self.positions is None:
            return replace(self, positions=chosen)
        kept = chosen.to(self.positions.device)[self.positions]
        operands = tuple(o[kept.to(o.device)] if o.ndim == 2 and len(o) > 1 else o for o in self.operands)
        return replace(self, operands=operands, positions=self.positions & chosen.to(self.positions.device))

    def after(self, position: int) -> "Edit":
        """Return the same edit for a text without its tokens before `position`; the edit must not change those."""
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


@dataclass(frozen=True, eq=False, repr=False)
class Edits(Change):
    """Several changes in one pass; changes at one site are made in this order."""

    changes: tuple[Change, ...]
    """The changes; none of them is an `Edits` itself."""

    def __repr__(self) -> str:
        return f"{len(self.changes)} changes, at one site in this order: {', '.join(map(_site, self.changes))}"

    @property
    def parts(self) -> tuple[Change, ...]:
        """The changes that it consists of, in order."""
        return self.changes

    @property
    def layers(self) -> tuple[int, ...]:
        """The sites, in the order of the changes."""
        return tuple(int(each.layer) for each in self.edits)

    def of_text(self, input_ids: Tensor, attention_mask: Tensor) -> "Edits":
        """Each of them for whole texts."""
        return Edits(tuple(each.of_text(input_ids, attention_mask) for each in self.changes))

    def at(self, step: Step) -> "Edits":
        """Each of them for the tokens that are read now."""
        return Edits(tuple(each.at(step) for each in self.changes))

    def plain(self) -> list[PlainEdit]:
        """The edits as tuples."""
        return [plain for each in self.edits for plain in each.plain()]

    def row_bytes(self, rows: int) -> Int[Tensor, " row"]:
        """Return the bytes of the edits' tensors that belong to each of the rows alone."""
        return torch.stack([each.row_bytes(rows) for each in self.edits]).sum(dim=0)

    def rows(self, chosen: Int[Tensor, " chosen"]) -> "Edits":
        """The same edits for some of the rows, in the order given."""
        return Edits(tuple(each.rows(chosen) for each in self.edits))

    def only(self, chosen: Bool[Tensor, "row position"]) -> "Edits":
        """The same edits at those of their positions that are chosen."""
        return Edits(tuple(each.only(chosen) for each in self.edits))

    def after(self, position: int) -> "Edits":
        """Return the same edits for a text without its tokens before `position`."""
        return Edits(tuple(each.after(position) for each in self.edits))

    @property
    def edits(self) -> Sequence[Edit]:
        """The changes, once `of_text` or `at` has made edits of them."""
        for each in self.changes:
            assert isinstance(each, Edit), "of_text or at makes edits of it"
        return self.changes  # type: ignore[return-value]


def check_change(edit: object) -> None:
    """Raise `ValueError` for anything but a `Change` or None."""
    if not isinstance(edit, Change | None):
        raise ValueError(
            f"edit is a {type(edit).__name__}: give one that steer(), shift(), SetLatent or Stitch make, or several as"
            " a + b"
        )


def _site(change: Change) -> str:
    return f"{type(change).__name__} at layer {getattr(change, 'layer', '?')}"
