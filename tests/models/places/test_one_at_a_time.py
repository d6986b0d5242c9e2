"""One model in memory at a time reads what both would."""

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from toolkit.models.model.sampling import Sampling
from toolkit.models.pair import ModelPair
from toolkit.models.places import one_at_a_time
from toolkit.models.sources import find_sources
from toolkit.models.where import Where

Folders = tuple[Path, Path]
Batch = tuple[Tensor, Tensor, Tensor]


def load(folders: Folders, *, depth: int | None = None, **where: object) -> ModelPair:
    sources = find_sources({"base": str(folders[0]), "distilled": str(folders[1])})
    return ModelPair.open(sources, layers=[1, 2], where=Where(device_map="cpu", **where), depth=depth)


@pytest.fixture(scope="module")
def together(folders: Folders) -> ModelPair:
    """Both models in memory."""
    return load(folders)


@pytest.fixture
def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(0, 40, (3, 6), generator=generator) for _ in range(5)]
    positions = torch.arange(6) > torch.tensor([[0], [2], [1]])
    return [(each, torch.ones_like(each), positions) for each in ids]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch, batches: list[Batch]) -> int:
    """Blocks that two batches fill."""
    tokens = 2 * int(batches[0][2].sum())
    monkeypatch.setattr(one_at_a_time, "BLOCK_TOKENS", tokens)
    return tokens


def count_loads(pair: ModelPair) -> list[str]:
    """The models that are read from the disk from now on, in that order."""
    loads: list[str] = []

    def counting(name: str, load: Callable[[], object]) -> Callable[[], object]:
        return lambda: (loads.append(name), load())[1]

    for name, model in pair.models.items():
        model.place._load = counting(name, model.place._load)
    return loads


def test_reads_and_edits_by_turns_equal_those_together(
    folders: Folders, together: ModelPair, batches: list[Batch]
) -> None:
    by_turns = load(folders, sequential=True)
    ids, mask, positions = batches[0]
    assert torch.equal(by_turns.residual(ids, mask), together.residual(ids, mask))
    assert torch.equal(by_turns.selected(ids, mask, positions), together.selected(ids, mask, positions))
    few = Sampling(new_tokens=3)
    assert torch.equal(by_turns.base.logits(ids, mask), together.base.logits(ids, mask))
    assert by_turns.distilled.generate_ids([[1]], sampling=few) == together.distilled.generate_ids([[1]], sampling=few)
    assert by_turns.fingerprints() == together.fingerprints()
    assert (by_turns.device, by_turns.d_model, by_turns.n_layers) == (torch.device("cpu"), 32, 4)


def test_weights_of_both_are_never_in_memory_together(folders: Folders, batches: list[Batch]) -> None:
    pair = load(folders, sequential=True)
    weights = {model: weakref.ref(next(model.model._module.parameters())) for model in (pair.distilled, pair.base)}
    gc.collect()
    assert weights[pair.distilled]() is None
    assert weights[pair.base]() is not None
    pair.selected(*batches[0])
    assert weights[pair.base]() is None
    assert (pair.base.place.in_memory, pair.distilled.place.in_memory) == (False, True)


def test_blocks_are_read_in_order_with_one_reading_of_weights_each(
    folders: Folders, together: ModelPair, batches: list[Batch], small_blocks: int
) -> None:
    pair = load(folders, sequential=True)
    loads = count_loads(pair)
    expected = [together.selected(*each) for each in batches]
    for number, ours in pair.selected_each(enumerate(batches)):
        assert torch.equal(ours, expected.pop(0)), number
    assert not expected
    assert loads == ["distilled", "base", "distilled"]  # three blocks, the base model in memory at first


def test_no_batch_is_taken_before_it_is_needed(
    folders: Folders, together: ModelPair, batches: list[Batch], small_blocks: int
) -> None:
    taken = 0

    def counted() -> Iterator[tuple[int, Batch]]:
        nonlocal taken
        for number, batch in enumerate(batches):
            taken += 1
            yield number, batch

    for pair, wanted in ((together, [1, 2, 3, 4, 5]), (load(folders, sequential=True), [2, 2, 4, 4, 5])):
        taken = 0
        assert [(number, taken) for number, _ in pair.selected_each(counted())] == [*enumerate(wanted)]


def test_a_block_with_no_token_chosen(folders: Folders, batches: list[Batch]) -> None:
    ids, mask, positions = batches[0]
    nothing = (ids, mask, torch.zeros_like(positions))
    ((_, read),) = load(folders, sequential=True).selected_each([(0, nothing)])
    assert read.shape == (0, 4, 32)


def test_ids_are_checked_before_a_block_is_read(folders: Folders, batches: list[Batch]) -> None:
    ids, mask, positions = batches[1]
    given = enumerate([batches[0], (ids + 50 - ids.max(), mask, positions)])
    with pytest.raises(ValueError, match="token id 50 is out of range"):
        list(load(folders, sequential=True).selected_each(given))


def test_the_first_layers_and_limits_go_by_turns_too(
    folders: Folders, together: ModelPair, batches: list[Batch]
) -> None:
    small = load(folders, sequential=True, depth=2, max_memory="60KB")
    assert torch.equal(small.selected(*batches[0]), together.selected(*batches[0]))


def test_weights_that_were_freed_take_no_memory(folders: Folders) -> None:
    pair, by_turns = load(folders), load(folders, sequential=True)
    in_room = weakref.ref(next(by_turns.base.model._module.parameters()))
    in_pair = [weakref.ref(weight) for weight in pair.base.model._module.parameters()]
    gc.disable()
    pair.free()
    gone = [weight() is None for weight in in_pair]
    gc.enable()
    assert all(gone)
    by_turns.free()
    assert all(weight.is_meta for model in (pair.base, pair.distilled) for weight in model.model._module.parameters())
    gc.collect()
    assert in_room() is None
    assert (pair.d_model, pair.layers, pair.n_layers) == (by_turns.d_model, by_turns.layers, by_turns.n_layers)
