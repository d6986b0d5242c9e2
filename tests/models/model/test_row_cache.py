"""Rows that leave, join and grow in place, against transformers' own caches and against padding by hand."""

import pytest
import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from toolkit.models.model.row_cache import ROOM, RowLayer


def states(rows: int, positions: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 2, positions, 3, generator=generator), torch.randn(
        rows, 2, positions, 5, generator=generator
    )


@pytest.mark.parametrize("window", [None, 4])
def test_it_answers_as_transformers_own_layer_while_rows_leave(window: int | None) -> None:
    ours, theirs = RowLayer(window), DynamicSlidingWindowLayer(window) if window else DynamicLayer()
    rows = 7
    for step, positions in enumerate([3, *[1] * (ROOM + 40)]):
        assert ours.get_mask_sizes(positions) == theirs.get_mask_sizes(positions)
        new = states(rows, positions, step)
        for own, other in zip(ours.update(*new), theirs.update(*new), strict=True):
            assert torch.equal(own, other)
        assert ours.get_seq_length() == theirs.get_seq_length()
        if step in (2, 5, 60):
            kept = torch.tensor([0, rows - 1, *range(2, rows - 1)])  # the last row takes the place of one that left
            rows = len(kept)
            for layer in (ours, theirs):
                layer.batch_select_indices(kept)
    assert torch.equal(ours.keys, theirs.keys)
    assert torch.equal(ours.values, theirs.values)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize(("read", "joining"), [(9, 2), (2, 9), (5, 5), (2, 3)])
def test_rows_that_join_are_padded_on_the_left(window: int | None, read: int, joining: int) -> None:
    first, second = states(3, read, 1), states(2, joining, 2)
    layer, other = RowLayer(window), RowLayer(window)
    layer.update(*first)
    other.update(*second)
    layer.join(other)
    held = max(read, joining) if window is None else min(max(read, joining), window - 1)
    for found, own, new in zip((layer.keys, layer.values), first, second, strict=True):
        padded = [torch.nn.functional.pad(each, (0, 0, 20 - each.shape[2], 0))[:, :, -held:] for each in (own, new)]
        reach = [min(length, held) for length in (read, joining)]
        for part, expected, length in zip((found[:3], found[3:]), padded, reach, strict=True):
            assert torch.equal(part[:, :, held - length :], expected[:, :, held - length :])
            assert part.isfinite().all()
    assert layer.get_seq_length() == max(read, joining)
    assert layer.get_mask_sizes(1) == (held + 1, max(read, joining) - held)


def test_the_memory_of_rows_and_positions_that_are_gone_is_given_back() -> None:
    layer = RowLayer()
    layer.update(*states(16, 1000, 0))
    whole = layer.keys.untyped_storage().nbytes()
    layer.batch_select_indices(torch.arange(4))
    assert layer.keys.untyped_storage().nbytes() < whole / 3
    layer.drop_first(900)
    for step in range(2 * ROOM + 300):
        layer.update(*states(4, 1, step))
    assert layer.get_seq_length() == layer.keys.shape[2] == 100 + 2 * ROOM + 300
    assert layer.keys.untyped_storage().nbytes() < whole / 4


def test_positions_are_taken_back() -> None:
    layer, own = RowLayer(), states(2, 6, 0)
    layer.update(*own)
    layer.crop(-2)
    keys, _ = layer.update(*states(2, 1, 1))
    assert torch.equal(keys, torch.cat([own[0][:, :, :4], states(2, 1, 1)[0]], dim=2))
