"""Thresholds and controls, on numbers made by hand."""

import pytest
import torch

from toolkit.experiments.hesitation.study import (
    OTHER_ROWS,
    RANDOM_DIRECTIONS,
    attributions,
    beyond_null,
    matched_arm,
    null_attributions,
    random_arm,
)
from toolkit.leaving_out import TooFewError

CHANCE = torch.Generator().manual_seed(0)
ALIVE = torch.ones(2, 30, dtype=torch.bool)


def test_latents_must_exceed_every_null_and_come_in_the_order_of_their_scores() -> None:
    scores = torch.zeros(2, 30)
    scores[0, 1], scores[0, 2], scores[1, 3], scores[1, 4] = 2.0, 5.0, 9.0, 7.0
    eligible = ALIVE.clone()
    eligible[1, 4] = False
    nulls = {"low": torch.linspace(0, 1, 101), "high": torch.linspace(0, 3, 101)}
    found = beyond_null(scores, nulls, eligible, 0.9)
    assert found.latents == ((1, 3), (0, 2))
    assert found.thresholds == pytest.approx({"low": 0.9, "high": 2.7})
    assert found.threshold == pytest.approx(2.7)
    assert (found.n_eligible, found.expected_false) == (59, pytest.approx(5.9))


def test_a_score_below_zero_is_never_beyond_the_null() -> None:
    scores = torch.full((1, 3), -1.0)
    assert beyond_null(scores, {"low": torch.full((9,), -2.0)}, ALIVE[:1, :3], 0.5).latents == ()


def test_random_directions_add_as_much_as_the_lengths_of_pull_and_row_allow() -> None:
    pulls, rows = torch.randn(2, 30, 64, generator=CHANCE), torch.randn(2, 30, 64, generator=CHANCE)
    eligible = torch.zeros_like(ALIVE)
    eligible[1, 7] = True
    nulls = null_attributions(list(pulls), list(rows), eligible, ALIVE, draws=2000, generator=CHANCE)
    expected = float(pulls[1, 7].norm() * rows[1, 7].norm()) / 8  # the root of 64
    assert float(nulls[RANDOM_DIRECTIONS].std()) == pytest.approx(expected, rel=0.1)
    assert len(nulls[RANDOM_DIRECTIONS]) == len(nulls[OTHER_ROWS]) == 2000
    others = (torch.nn.functional.normalize(rows[1], dim=1) @ pulls[1, 7]) * rows[1, 7].norm()
    assert (nulls[OTHER_ROWS][:, None] - others).abs().min(dim=1).values.max() < 1e-4


def test_a_row_along_its_pull_is_beyond_both_nulls_and_random_rows_are_as_often_as_the_quantile_says() -> None:
    pulls, rows = torch.randn(2, 3000, 64, generator=CHANCE), torch.randn(2, 3000, 64, generator=CHANCE)
    rows[1, 3] = pulls[1, 3]
    alive = torch.ones(2, 3000, dtype=torch.bool)
    nulls = null_attributions(list(pulls), list(rows), alive, alive, draws=5, generator=CHANCE)
    found = beyond_null(attributions(list(pulls), list(rows)), nulls, alive, 0.99)
    assert found.latents[0] == (1, 3)
    assert len(found.latents) == pytest.approx(found.expected_false, rel=0.3)


def test_random_latents_are_as_many_other_ones_that_fire() -> None:
    alive = ALIVE.clone()
    alive[0] = False
    drawn = random_arm([(1, 3), (1, 4)], alive, CHANCE)
    assert len(set(drawn)) == 2
    assert all(layer == 1 and latent not in (3, 4) for layer, latent in drawn)


def test_matched_latents_are_of_the_same_layers_and_add_as_much() -> None:
    added = torch.arange(60.0).view(2, 30)
    drawn = matched_arm([(0, 10), (1, 20), (1, 3)], added, ALIVE, CHANCE)
    assert sorted(layer for layer, _ in drawn) == [0, 1, 1]
    assert not {(0, 10), (1, 20), (1, 3)} & set(drawn)
    assert sum(float(added[latent]) for latent in drawn) == pytest.approx(10 + 50 + 33, abs=6)


def test_a_layer_with_too_few_others_is_named() -> None:
    with pytest.raises(TooFewError, match="layer 1: 20 latents are chosen, and only 10 other"):
        matched_arm([(1, latent) for latent in range(20)], torch.ones(2, 30), ALIVE, CHANCE)
