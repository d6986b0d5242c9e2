"""Whether reasoning stands out on one side of the NRN scale."""

import pytest
import torch

from toolkit.annotation.enrichment import THIRDS, Enrichment, thirds_of
from toolkit.statistics.verdicts import judge


def enrichment(reasoning: tuple[int, int, int], n: int = 40) -> Enrichment:
    """So many of `n` latents in each third are of reasoning."""
    labels = {
        third * n + latent: "verification" if latent < count else "domain"
        for third, count in enumerate(reasoning)
        for latent in range(n)
    }
    return Enrichment.of(labels, {latent: THIRDS[latent // n] for latent in labels})


def test_thirds_hold_as_many_alive_latents_each_by_nrn():
    nrn = torch.tensor([0.9, 0.1, 0.5, 0.6, 0.2, 0.7, 0.0])
    alive = torch.tensor([True, True, True, True, True, True, False])
    low, middle, high = THIRDS
    assert thirds_of(nrn, alive) == {1: low, 4: low, 2: middle, 3: middle, 5: high, 0: high}


def test_a_side_that_is_full_of_reasoning_shows_against_both_others():
    verdicts = judge(enrichment((2, 3, 30)).claims())
    assert [verdict.shows for verdict in verdicts] == [True, True]
    assert verdicts[0].claim.effect.value == pytest.approx(30 / 40)


def test_a_side_that_differs_from_one_other_alone_shows_against_that_one():
    assert [verdict.shows for verdict in judge(enrichment((2, 29, 30)).claims())] == [True, False]


def test_nothing_is_claimed_where_a_third_has_no_labels():
    labels = {0: "domain", 1: "deductive"}
    found = Enrichment.of(labels, {0: THIRDS[0], 1: THIRDS[2]})
    assert found.claims() == []
    assert found.share(THIRDS[2], "deductive").value == 1
