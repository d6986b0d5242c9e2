from collections import Counter

import pytest
import torch
from torch import Tensor

from toolkit.latents.examples import TopExamples
from toolkit.latents.windows import Window

N_ROWS, LENGTH, N_LATENTS, WINDOW = 24, 40, 5, Window(before=4, after=2)


@pytest.fixture
def rows() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids, attention mask, selected tokens, and codes [row, position, latent]; latent 4 never fires."""
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(40, (N_ROWS, LENGTH), generator=generator)
    lengths = torch.randint(5, LENGTH + 1, (N_ROWS, 1), generator=generator)
    mask = (torch.arange(LENGTH) < lengths).long()
    selected = mask.bool() & (torch.arange(LENGTH) > 0)
    codes = torch.randn(N_ROWS, LENGTH, N_LATENTS, generator=generator).clamp(min=0) * selected[:, :, None]
    codes[:, :, 4] = 0
    return input_ids, mask, selected, codes


def collect(rows: tuple[Tensor, ...], batch: int, **sizes: int) -> TopExamples:
    examples = TopExamples(N_LATENTS, window=WINDOW, generator=torch.Generator().manual_seed(3), **sizes)
    for first in range(0, N_ROWS, batch):
        input_ids, mask, selected, codes = (tensor[first : first + batch] for tensor in rows)
        examples.add(input_ids, mask, selected, codes[selected])
    return examples


def highest_around(codes: Tensor, row: int, position: int) -> bool:
    near = codes[row, max(0, position - WINDOW.reach) : position + WINDOW.reach + 1]
    return bool(codes[row, position] > 0) and codes[row, position] == near.max()


@pytest.mark.parametrize("batch", [1, 7, N_ROWS])
def test_the_strongest_are_a_naive_search_however_the_text_is_cut(rows: tuple[Tensor, ...], batch: int) -> None:
    input_ids, mask, _, codes = rows
    found = collect(rows, batch, top=6)
    assert found.documents == N_ROWS
    for latent in range(N_LATENTS):
        peaks = [
            (float(codes[row, position, latent]), row, position)
            for row in range(N_ROWS)
            for position in range(LENGTH)
            if highest_around(codes[:, :, latent], row, position)
        ]
        expected = sorted(peaks, reverse=True)[:6]
        examples = found.strongest(latent)
        assert [(e.score, e.document, e.position) for e in examples] == expected
        for example in examples:
            low, high = max(0, example.position - 4), min(int(mask[example.document].sum()), example.position + 3)
            assert list(example.token_ids) == input_ids[example.document, low:high].tolist()
            assert list(example.activations) == codes[example.document, low:high, latent].tolist()
            assert example.position - low == example.peak


def test_without_a_sample_the_strongest_are_the_same_and_no_chance_is_drawn(rows: tuple[Tensor, ...]) -> None:
    examples = collect(rows, 8, sampled=0)
    assert [examples.strongest(k) for k in range(N_LATENTS)] == [collect(rows, 8).strongest(k) for k in range(5)]
    assert [quarter for _, quarter in examples.quarters(1)] == [[], [], [], []]
    assert torch.equal(examples.generator.get_state(), torch.Generator().manual_seed(3).get_state())


def test_quarters_rise_and_their_windows_never_overlap(rows: tuple[Tensor, ...]) -> None:
    names, quarters = zip(*collect(rows, 5, sampled=10).quarters(2), strict=True)
    assert names == ("lowest quarter", "second quarter", "third quarter", "highest quarter")
    assert [len(quarter) for quarter in quarters] == [2, 3, 2, 3]
    sample = [example for quarter in quarters for example in quarter]
    scores = [example.score for example in sample]
    assert scores == sorted(scores)
    by_document: dict[int, list[int]] = {}
    for example in sample:
        by_document.setdefault(example.document, []).append(example.position)
    for positions in by_document.values():
        gaps = [after - before for before, after in zip(sorted(positions), sorted(positions)[1:], strict=False)]
        assert all(gap > WINDOW.reach for gap in gaps)


def test_the_sample_is_fair_to_weak_and_strong_firings() -> None:
    """100 lone firings, one a row: over many seeds each is drawn a tenth of the time."""
    codes = torch.zeros(100, 3)
    codes[:, 1] = torch.arange(1, 101)
    ids = torch.zeros(100, 3, dtype=torch.long)
    whole = torch.ones(100, 3, dtype=torch.long)
    drawn: Counter[int] = Counter()
    for seed in range(300):
        examples = TopExamples(1, sampled=10, generator=torch.Generator().manual_seed(seed))
        for part in range(0, 100, 50):
            chosen = slice(part, part + 50)
            examples.add(ids[chosen], whole[chosen], whole[chosen].bool(), codes[chosen].reshape(-1, 1))
        drawn.update(e.document for _, quarter in examples.quarters(0) for e in quarter)
    counts = torch.tensor([drawn[document] for document in range(100)]).float()
    assert counts.sum() == 3000
    chi_squared = float(((counts - 30) ** 2 / 27).sum())
    assert 60 < chi_squared < 150  # 99 degrees of freedom
    assert abs(float(counts[:50].sum()) - 1500) < 120


def test_a_silent_latent_has_none_and_none_asked_for_is_refused(rows: tuple[Tensor, ...]) -> None:
    examples = collect(rows, 6)
    assert examples.strongest(4) == []
    assert [quarter for _, quarter in examples.quarters(4)] == [[], [], [], []]
    for sizes in ({"top": 0}, {"sampled": -1}):
        with pytest.raises(ValueError, match="top must be at least 1"):
            TopExamples(1, **sizes, generator=torch.Generator())
