import pytest
import torch

from toolkit.latents.categories import Category
from toolkit.latents.firing import FiringCounts
from toolkit.latents.specificity import specific_latents


def category(token_id: int) -> Category:
    return Category(name=f"c{token_id}", words=("w",), tokens=("w",), token_ids=(token_id,))


def count(rates: list[list[float]], *, categories: int = 3) -> FiringCounts:
    """Counts over rows of 100 pairs (word of no category, word), one a category; latent fires on the pair's first.

    `rates` holds a latent's share of firing before the words of each category.
    """
    counts = FiringCounts([category(token_id) for token_id in range(1, categories + 1)], len(rates))
    ids = torch.zeros(categories, 200, dtype=torch.long)
    codes = torch.zeros(categories, 200, len(rates))
    for row in range(categories):
        ids[row, 1::2] = row + 1
        for latent, rate in enumerate(rates):
            codes[row, 0 : 2 * round(100 * rate[row]) : 2, latent] = 1
    counts.add(ids, torch.ones_like(ids, dtype=torch.bool), codes.flatten(0, 1))
    return counts


def test_the_specific_latent_that_fires_on_most_is_found():
    rates = [
        [0.30, 0.11, 0.00],  # 2.7 times as often: not specific
        [0.30, 0.10, 0.10],  # 3 times
        [0.60, 0.00, 0.20],  # 3 times, and on more of them
        [0.04, 0.00, 0.00],  # too seldom
        [0.00, 0.00, 0.00],  # dead
        [0.00, 0.05, 0.00],
    ]
    found = specific_latents(count(rates))
    assert [(each.category, each.place, each.n, each.latent) for each in found] == [
        ("c1", "predicting", 2, 2),
        ("c2", "predicting", 1, 5),
    ]
    best = found[0]
    frequency = (0.6 + 0.2) / 6  # half of all tokens are predicted words
    assert best.rate == pytest.approx(0.6)
    assert best.lift == pytest.approx(0.6 / frequency)
    assert best.other_lift == pytest.approx(0.2 / frequency)


def test_few_firings_are_no_evidence():
    counts = FiringCounts([category(1), category(2)], 2)
    ids = torch.tensor([[1] * 8 + [2] * 8])
    codes = torch.zeros(16, 2)
    codes[:4, 0] = codes[8:13, 1] = 1  # on 4 of the first category's words, on 5 of the second's
    counts.add(ids, torch.ones_like(ids, dtype=torch.bool), codes)
    assert [(each.category, each.latent) for each in specific_latents(counts) if each.place == "token"] == [("c2", 1)]


def test_firing_on_the_word_is_told_from_firing_before_it():
    counts = FiringCounts([category(1), category(2)], 2)
    ids = torch.tensor([[0, 1, 0, 2] * 10])
    codes = torch.zeros(40, 2)
    codes[1::4, 0] = 1  # on the first category's words
    codes[2::4, 1] = 1  # before the second's
    counts.add(ids, torch.ones_like(ids, dtype=torch.bool), codes)
    assert [(each.category, each.place, each.latent) for each in specific_latents(counts)] == [
        ("c2", "predicting", 1),
        ("c1", "token", 0),
    ]


def test_one_category_has_no_others():
    with pytest.raises(ValueError, match="one category alone"):
        specific_latents(count([[0.5]], categories=1))
