"""Regions of documents, and what is counted in them."""

import pytest
import torch

from toolkit.latents.regions import ANSWER, PARTS, REGIONS, UNMARKED, RegionCounts, regions_of

PIECES = ["Q", "<think>", "</think>", "a", "<th", "ink>\n", "</", "think", ">\n"]
N_LAYERS, N_LATENTS = 2, 3


def test_thinking_is_cut_into_tenths_between_the_marks():
    pieces = ["Q", "Q", "<think>", *"x" * 20, "</think>", "A", "A"]
    assert regions_of(pieces) == [0] * 3 + [1 + place // 2 for place in range(20)] + [11] * 3
    assert [REGIONS[number] for number in (0, 1, 10, 11)] == [
        "question",
        "thinking 0–10 %",
        "thinking 90–100 %",
        ANSWER,
    ]


def test_marks_may_be_spread_over_tokens_that_hold_more():
    assert regions_of(["Q", "<th", "ink>\n", "x", "y", "</", "think", ">\n", "A"]) == [0, 0, 0, 1, 6, 11, 11, 11, 11]


@pytest.mark.parametrize(
    "pieces", [["Q", "x"], ["Q", "<think>", "x"], ["x", "</think>", "A"], ["</think>", "<think>", "x"]]
)
def test_a_document_without_both_marks_in_order_has_no_regions(pieces: list[str]):
    assert regions_of(pieces) == [UNMARKED] * len(pieces)


def test_thinking_of_no_tokens_and_of_fewer_than_ten():
    assert regions_of(["<think>", "</think>", "A"]) == [0, 11, 11]
    assert regions_of(["<think>", "x", "y", "</think>"]) == [0, 1, 6, 11]


def batches():
    """Two batches of two documents, the last without marks; position 0 does not count."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.tensor([[0, 0, 1, 3, 3, 2, 3], [0, 1, 3, 3, 3, 3, 2], [0, 1, 3, 2, 0, 0, 0], [0, 3, 3, 3, 3, 3, 0]])
    lengths = torch.tensor([7, 7, 4, 6])
    selected = (torch.arange(7) < lengths[:, None]) & (torch.arange(7) > 0)
    codes = torch.randn(4, 7, N_LAYERS * N_LATENTS, generator=generator).relu()
    return ids, selected, codes


@pytest.fixture
def counts() -> RegionCounts:
    ids, selected, codes = batches()
    counts = RegionCounts(PIECES, N_LAYERS, N_LATENTS)
    for rows in (slice(0, 2), slice(2, 4)):
        counts.add(ids[rows], selected[rows], codes[rows][selected[rows]])
    return counts


def test_counts_are_those_of_a_loop_over_tokens(counts: RegionCounts):
    ids, selected, codes = batches()
    mass = torch.zeros(UNMARKED + 1, N_LAYERS * N_LATENTS)
    fired, tokens = torch.zeros_like(mass), torch.zeros(UNMARKED + 1)
    for row in range(4):
        regions = regions_of([PIECES[token] for token in ids[row].tolist()])
        for position in selected[row].nonzero()[:, 0].tolist():
            mass[regions[position]] += codes[row, position]
            fired[regions[position]] += codes[row, position] > 0
            tokens[regions[position]] += 1
    torch.testing.assert_close(counts.shares.float(), mass[:-1] / mass[:-1].sum(dim=0))
    torch.testing.assert_close(counts.rates.float(), fired[:-1] / tokens[:-1, None], equal_nan=True)
    torch.testing.assert_close(counts.token_shares.float(), tokens[:-1] / tokens[:-1].sum())
    assert counts.marked_documents == 3
    for layer in range(N_LAYERS):
        of_layer = fired[:, layer * N_LATENTS : (layer + 1) * N_LATENTS].sum(dim=1)
        assert counts.l0(layer).value == pytest.approx(float(of_layer.sum() / tokens.sum()))
        answer = PARTS[ANSWER]
        expected = float(of_layer[answer].sum() / tokens[answer].sum())
        assert counts.l0(layer, answer).value == pytest.approx(expected)
    assert counts.l0().value == pytest.approx(float(fired.sum() / tokens.sum()))


def test_counts_go_on_from_their_state(counts: RegionCounts):
    ids, selected, codes = batches()
    halves = RegionCounts(PIECES, N_LAYERS, N_LATENTS), RegionCounts(PIECES, N_LAYERS, N_LATENTS)
    halves[0].add(ids[:2], selected[:2], codes[:2][selected[:2]])
    halves[1].load_state_dict(halves[0].state_dict())
    halves[1].add(ids[2:], selected[2:], codes[2:][selected[2:]])
    for name, expected in counts.state_dict().items():
        assert torch.equal(halves[1].state_dict()[name], expected)
