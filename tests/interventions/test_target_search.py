"""Targets against a loop over rows and positions, each probability from a pass over its prefix alone."""

import re
from collections.abc import Sequence

import pytest
import torch
from transformers import AutoModelForCausalLM

from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.interventions.targets import OTHER, Targets, TargetSearch
from toolkit.latents.categories import Category

WAIT = Category(name="wait", words=("w",), tokens=("w3", "w5"), token_ids=(3, 5))
BUT = Category(name="but", words=("w",), tokens=("w9",), token_ids=(9,))


@pytest.fixture(scope="module")
def batches() -> list[TokenBatch]:
    """Rows of unlike lengths, padded with a word that would count."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for lengths in ([40, 33, 31], [25, 2, 1]):
        ids = torch.randint(1, 12, (len(lengths), max(lengths)), generator=generator)
        mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
        made.append(TokenBatch(ids.where(mask.bool(), 3), mask))
    return made


def search(
    pair, batches: list[TokenBatch], undecided: tuple[float, float], categories: Sequence[Category] = (WAIT, BUT)
) -> TargetSearch:
    mask = TokenMask(special_ids=frozenset({7}), keep_position_0=False, outlier_factor=10.0)
    made = TargetSearch(categories, undecided)
    for batch in batches:
        made.add(pair.distilled, batch, mask.tokens(batch))
    return made


def naive(folder, batches: list[TokenBatch], low: float, high: float) -> dict[str, list[tuple[int, ...]]]:
    """Number of the text, prefix and word of every position that would do."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    found: dict[str, list[tuple[int, ...]]] = {"wait": [], "but": [], OTHER: []}
    texts = [
        ids[mask.bool()].tolist()
        for batch in batches
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
    ]
    for document, text in enumerate(texts):
        for position in range(2, len(text)):  # the token before is never the first
            if 7 in text[position - 1 : position + 1]:
                continue
            with torch.no_grad():
                logits = model(torch.tensor([text[:position]])).logits[0, -1]
            if not low <= float(logits.softmax(dim=0)[text[position]]) <= high:
                continue
            name = "wait" if text[position] in (3, 5) else "but" if text[position] == 9 else OTHER
            found[name].append((document, *text[: position + 1]))
    return found


def drawn(targets: Targets) -> list[tuple[int, ...]]:
    rows = zip(targets.documents.tolist(), targets.prefixes, targets.target_ids.tolist(), strict=True)
    return [(document, *prefix.tolist(), target) for document, prefix, target in rows]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("undecided", [(0.0, 1.0), (0.0185, 0.0205)])
def test_every_position_that_would_do_is_found(tiny_pair, folders, batches, undecided):
    expected = naive(folders[1], batches, *undecided)
    found, left_out = search(tiny_pair, batches, undecided).draw(10_000, generator())
    assert left_out == {}
    assert list(found) == ["wait", "but", OTHER]
    for name, targets in found.items():
        assert targets.found == len(targets.prefixes) == len(expected[name])
        assert sorted(drawn(targets)) == sorted(expected[name])
    everything = sum(int(batch.attention_mask[:, 2:].sum()) for batch in batches)
    assert (0 if undecided[1] < 1 else everything // 2) < sum(map(len, expected.values())) < everything


def test_a_hundred_targets_are_a_hundred_different_ones(tiny_pair):
    ids = torch.randint(1, 12, (16, 60), generator=generator(1))
    ids[:, 0] = torch.arange(20, 36)  # no two prefixes are alike
    every = TargetSearch([WAIT], (0.0, 1.0))
    batch = TokenBatch(ids, torch.ones_like(ids))
    every.add(tiny_pair.distilled, batch, batch.attention_mask.bool())
    first, again, other = (every.draw(100, generator(seed))[0] for seed in (0, 0, 1))
    for name in ("wait", OTHER):
        assert len(first[name].prefixes) == len(first[name].target_ids) == len(set(drawn(first[name]))) == 100
        assert drawn(first[name]) == drawn(again[name]) != drawn(other[name])
    assert first["wait"].found == int(torch.isin(ids[:, 1:], torch.tensor([3, 5])).sum())
    assert 100 < first["wait"].found < 16 * 59


def test_fewer_targets_than_asked_for_are_all_used_and_counted(tiny_pair, batches):
    found, _ = search(tiny_pair, batches, (0.0, 1.0)).draw(1000, generator())
    for targets in found.values():
        assert len(targets.prefixes) == len(set(drawn(targets))) == targets.found < 1000


def test_too_few_are_left_out_with_what_to_do(tiny_pair, batches):
    found, left_out = search(tiny_pair, batches, (0.9, 1.0)).draw(10, generator())
    assert found == {}
    assert list(left_out) == ["wait", "but", OTHER]
    assert re.match(r"wait: 0 positions .* 0.9 to 1, .* read more text, or widen undecided", left_out["wait"])


def test_what_is_left_out_changes_no_draw_of_the_others(tiny_pair, batches):
    odd = Category(name="odd", words=("odd",), tokens=(), token_ids=())
    found, left_out = search(tiny_pair, batches, (0.0, 1.0), (WAIT, odd, BUT)).draw(100, generator())
    expected, _ = search(tiny_pair, batches, (0.0, 1.0)).draw(100, generator())
    assert re.match("category 'odd': none of .* is a single token", left_out["odd"])
    assert found.keys() == expected.keys()
    assert all(drawn(found[name]) == drawn(expected[name]) for name in found)


@pytest.mark.parametrize("undecided", [(0.5, 0.5), (0.9, 0.1), (-0.1, 0.5), (0.2, 1.1), (float("nan"), 0.5)])
def test_probabilities_must_rise(undecided):
    with pytest.raises(ValueError, match=r"give two rising probabilities, 0 1 for all occurrences"):
        TargetSearch([WAIT], undecided)


@pytest.mark.parametrize("budget", [1, 60, 100, 10_000])
def test_batches_hold_every_prefix_once_padded_on_the_left(tiny_pair, batches, budget):
    targets = search(tiny_pair, batches, (0.0, 1.0)).draw(1000, generator())[0][OTHER]
    places = []
    for where, batch in targets.batches(budget):
        assert batch.input_ids.numel() <= budget or len(where) == 1
        for place, row, mask in zip(where.tolist(), batch.input_ids, batch.attention_mask, strict=True):
            assert torch.equal(row[mask.bool()], targets.prefixes[place])
            assert mask.tolist() == sorted(mask.tolist())
        places += where.tolist()
    assert sorted(places) == list(range(len(targets.prefixes)))
    assert (len(targets.batches(budget)) == 1) == (budget == 10_000)


def test_on_ndif_the_same_positions_do(tiny_pair, ndif_tiny_pair, batches):
    here, there = (
        search(pair, batches, (0.015, 0.03)).draw(100, generator())[0] for pair in (tiny_pair, ndif_tiny_pair)
    )
    for name in (OTHER, "wait", "but"):
        assert drawn(there[name]) == drawn(here[name])
