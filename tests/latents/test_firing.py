"""Counts against loops over rows, positions and latents."""

import pytest
import torch

from toolkit.latents.categories import Category
from toolkit.latents.firing import PLACES, FiringCounts, check_alive

WAIT = Category(name="wait", words=("Wait",), tokens=("Wait", " wait"), token_ids=(3, 5))
BUT = Category(name="but", words=("But",), tokens=("But",), token_ids=(4,))
NONE = Category(name="none", words=("None",), tokens=("None",), token_ids=(40,))
LATENTS = 6


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    made = []
    for rows, length in ((5, 20), (2, 7), (1, 1)):
        ids = torch.randint(8, (rows, length), generator=generator)
        selected = torch.rand(rows, length, generator=generator) < 0.8
        codes = torch.rand(int(selected.sum()), LATENTS, generator=generator) - 0.5
        codes[:, 0], codes[:, 1] = -1, 1  # one is dead, one is always on
        made.append((ids, selected, codes.relu()))
    return made


def naive(batches, category: Category, shift: int) -> tuple[list[int], int]:
    """How often each latent fires where the token `shift` later is of the category; both tokens selected."""
    hits, n = [0] * LATENTS, 0
    for ids, selected, codes in batches:
        lines = iter(codes)
        code = {(r, p): next(lines) for r in range(len(ids)) for p in range(ids.shape[1]) if selected[r, p]}
        for row, position in code:
            if (row, position + shift) in code and int(ids[row, position + shift]) in category.token_ids:
                n += 1
                for latent in range(LATENTS):
                    hits[latent] += int(code[row, position][latent] > 0)
    return hits, n


@pytest.mark.parametrize(("place", "shift"), [("token", 0), ("predicting", 1)])
def test_counts_rates_and_lifts(batches, place, shift):
    counts = FiringCounts([WAIT, BUT, NONE], LATENTS)
    for batch in batches:
        counts.add(*batch)
    codes = torch.cat([codes for _, _, codes in batches])
    assert counts.tokens == len(codes)
    assert counts.fired.tolist() == (codes > 0).sum(dim=0).tolist()
    torch.testing.assert_close(counts.mass, codes.double().sum(dim=0))
    for index, category in enumerate((WAIT, BUT)):
        hits, n = naive(batches, category, shift)
        assert n > 5
        assert counts.counts[place][index].tolist() == hits
        assert counts.n[place][index] == n
        for latent in range(LATENTS):
            assert counts.rate(place)[index, latent] == pytest.approx(hits[latent] / n)
            frequency = float((codes[:, latent] > 0).float().mean())
            lift = hits[latent] / n / frequency if frequency else 0
            assert counts.lift(place)[index, latent] == pytest.approx(lift, rel=1e-5)
    assert (counts.lift(place)[:2, 1] == 1).all()
    assert not counts.lift(place)[:, 0].any()
    assert not counts.rate(place)[2].any()
    assert not counts.lift(place)[2].any()


def test_the_other_lift_is_the_largest_of_the_rest(batches):
    counts = FiringCounts([WAIT, BUT, NONE, WAIT], LATENTS)
    alone = FiringCounts([WAIT], LATENTS)
    for batch in batches:
        counts.add(*batch)
        alone.add(*batch)
    for place in PLACES:
        lift = counts.lift(place)
        for index in range(4):
            rest = [lift[other] for other in range(4) if other != index]
            assert torch.equal(counts.other_lift(place)[index], torch.stack(rest).amax(dim=0))
        assert alone.other_lift(place).isneginf().all()


def test_counts_go_on_from_a_saved_state(batches):
    whole, first, rest = (FiringCounts([WAIT, BUT], LATENTS) for _ in range(3))
    for batch in batches:
        whole.add(*batch)
    first.add(*batches[0])
    rest.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    for batch in batches[1:]:
        rest.add(*batch)
    assert rest.tokens == whole.tokens
    assert rest.state_dict().keys() == whole.state_dict().keys()
    assert all(torch.equal(rest.state_dict()[name], tensor) for name, tensor in whole.state_dict().items())


def test_categories_whose_words_were_not_read_are_named_with_the_reason(batches):
    odd = Category(name="odd", words=("odd",), tokens=(), token_ids=())
    counts = FiringCounts([odd, WAIT, NONE], LATENTS)
    for batch in batches:
        counts.add(*batch)
    seen, left_out = counts.seen()
    assert seen == {"wait": 1}
    assert "none of ' Odd', 'Odd', ' odd', 'odd' is a single token" in left_out["odd"]
    assert left_out["none"].startswith(f"none: its words are on none of {counts.tokens} tokens: read more text")


def test_nothing_read_is_nothing_counted():
    counts = FiringCounts([WAIT], LATENTS)
    assert not counts.lift("token").any()
    assert counts.tokens == 0


def test_named_latents_must_fire():
    counts = FiringCounts([], 3)
    counts.tokens, counts.fired = 40, torch.tensor([3, 0, 1])
    check_alive(counts, (0, 2))
    with pytest.raises(ValueError, match="1 fired on none of 40 held-out tokens"):
        check_alive(counts, (0, 1))
