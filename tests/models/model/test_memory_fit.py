"""A forward pass that memory cannot hold is tried again with half its rows, and says so."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from toolkit.models.model.memory_fit import RowLimit
from toolkit.models.pair import ModelPair

Batch = tuple[Tensor, Tensor]


@pytest.fixture
def pair(folders: tuple[Path, Path]) -> ModelPair:
    return ModelPair.from_pretrained(base=str(folders[0]), distilled=str(folders[1]), layers=[2], where="cpu")


@pytest.fixture
def eight_rows() -> Batch:
    ids = torch.randint(0, 40, (8, 12), generator=torch.Generator().manual_seed(0))
    return ids, (torch.arange(12) < torch.arange(12, 4, -1)[:, None]).long()


@contextmanager
def room_for(pair: ModelPair, tokens: int) -> Iterator[list[int]]:
    """Memory that holds `tokens` tokens of the distilled model; the rows of every pass that fitted."""
    fitted: list[int] = []

    def check(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows, length = inputs[0].shape[:2]
        if rows * length > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        fitted.append(rows)

    handle = pair.distilled.model._module.model.layers[1].register_forward_pre_hook(check)
    try:
        yield fitted
    finally:
        handle.remove()


def test_rows_are_halved_until_they_fit_and_the_size_is_kept(pair: ModelPair, eight_rows: Batch) -> None:
    ids, mask = eight_rows
    positions = mask.bool()
    expected, whole = pair.selected(ids, mask, positions), pair.residual(ids, mask)
    with room_for(pair, 36) as fitted:
        with pytest.warns(UserWarning, match="out of memory") as caught:
            assert torch.equal(pair.selected(ids, mask, positions), expected)
        assert [str(each.message).split(";")[0] for each in caught] == [
            "out of memory in a forward pass of 8 rows of 12 tokens (96): from now on a pass has at most 4 such rows"
            " (48 tokens)",
            "out of memory in a forward pass of 4 rows of 12 tokens (48): from now on a pass has at most 2 such rows"
            " (24 tokens)",
        ]
        assert fitted == [2, 2, 2, 2]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(pair.residual(ids, mask), whole)
            pair.residual(ids[:, :6], mask[:, :6])  # shorter rows: more of them
        assert fitted == [2] * 8 + [4, 4]


def test_one_row_that_does_not_fit(pair: ModelPair, eight_rows: Batch) -> None:
    message = r"out of memory for one row of 12 tokens: lower --row-length.*Tried to allocate"
    with (
        room_for(pair, 8),
        pytest.warns(UserWarning, match="out of memory") as caught,
        pytest.raises(ValueError, match=message),
    ):
        pair.residual(*eight_rows)
    assert len(caught) == 3
    assert pair.residual(*eight_rows).shape == (8, 12, 2, 32)


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    def broken(rows: Tensor) -> Tensor:
        raise RuntimeError("expected scalar type Float but found Half")

    limit = RowLimit()
    with pytest.raises(RuntimeError, match="expected scalar type"):
        limit.run(broken, torch.zeros(4, 2))
    assert limit.tokens is None
