"""Estimates of what stitching costs, against sums written out."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from toolkit.experiments.stitching.study import GIVEN_ONE_FIT, RANK_MARGIN, Cost, StitchedCut
from toolkit.statistics.estimates import ratio_of_sums
from toolkit.stitching.position_kinds import KINDS

DOCUMENTS = 30
HESITATION, THINKING = KINDS.index("hesitation"), KINDS.index("thinking")


def sums(seed: int, fits: int, scale: float = 1.0) -> Tensor:
    return scale * torch.rand(fits, DOCUMENTS, 5, generator=torch.Generator().manual_seed(seed)).double()


def stitched(fits: int = 3, **ranks: float) -> StitchedCut:
    tokens = torch.randint(1, 9, (DOCUMENTS, 5), generator=torch.Generator().manual_seed(9)).double()
    tokens[10:, HESITATION] = 0
    made = {name: sums(seed, fits) * tokens for seed, name in enumerate(("mean_shift", "ridge"))}
    return StitchedCut(
        front="base",
        rest="distilled",
        front_layer=1,
        cut=1,
        tokens=tokens,
        vocabulary=50,
        loss=sums(7, 1)[0] * tokens,
        maps={name: Cost(ce=ce, kl=2 * ce) for name, ce in made.items()},
        ranks={
            int(rank[1:]): Cost(ce=tokens[None], kl=2 * made["ridge"][:1] + nats * tokens)
            for rank, nats in ranks.items()
        },
    )


def test_a_cost_is_a_mean_over_predictions_and_fits_of_the_kinds_that_are_asked_for() -> None:
    cut = stitched()
    ce, n = cut.maps["ridge"].ce, cut.tokens
    assert cut.cost("ridge", measure="ce").value == pytest.approx(float(ce.sum() / 3 / n.sum()))
    some = [THINKING, HESITATION]
    found = cut.cost("ridge", "thinking", "hesitation")
    assert found.value == pytest.approx(float(2 * ce[..., some].sum() / 3 / n[:, some].sum()))
    assert cut.n("thinking", "hesitation") == n[:, some].sum()


def test_a_receiver_predicts_where_its_cross_entropy_is_below_that_of_a_uniform_guess() -> None:
    cut = stitched()
    assert cut.predicts
    assert not replace(cut, vocabulary=2, loss=0.7 * cut.tokens).predicts  # ln 2 = .693
    assert replace(cut, vocabulary=2, loss=0.68 * cut.tokens).predicts


def test_one_fit_says_so_and_has_the_interval_over_documents() -> None:
    found, cut = stitched(fits=1).cost("ridge", measure="ce"), stitched(fits=1)
    over_documents = ratio_of_sums(cut.maps["ridge"].ce[0].sum(dim=1), cut.tokens.sum(dim=1))
    assert (found.low, found.high) == pytest.approx((over_documents.low, over_documents.high))
    assert found.note == GIVEN_ONE_FIT
    assert not stitched(fits=2).cost("ridge").note


def test_maps_are_compared_on_the_same_documents_and_fits() -> None:
    cut = stitched()
    first, second = cut.maps["mean_shift"].kl, cut.maps["ridge"].kl
    found = cut.more("mean_shift", "ridge", share=0.5)
    assert found.value == pytest.approx(float((first - 0.5 * second).sum() / 3 / cut.tokens.sum()))
    same = cut.more("ridge", "ridge")
    assert same.value == 0
    assert same.low is None


def test_kinds_are_set_apart_in_the_same_documents_of_which_those_without_a_kind_are_no_samples() -> None:
    cut = stitched()
    kl, n = cut.maps["ridge"].kl.mean(dim=0), cut.tokens
    found = cut.kinds_apart("ridge", "hesitation", "thinking")
    expected = kl[:, HESITATION].sum() / n[:, HESITATION].sum() - kl[:, THINKING].sum() / n[:, THINKING].sum()
    assert found.estimate.value == pytest.approx(float(expected))
    assert found.documents == 10
    assert found.estimate.low is not None
    nothing = found - cut.kinds_apart("ridge", "hesitation", "thinking")
    assert nothing.estimate.value == 0
    cut.tokens[5:, HESITATION] = 0
    assert "5 documents" in cut.kinds_apart("ridge", "hesitation", "thinking").estimate.note


def test_the_rank_needed_is_the_least_within_the_margin() -> None:
    assert stitched(r1=1.0, r2=2 * RANK_MARGIN, r4=RANK_MARGIN / 2, r8=0.0).rank_needed is None  # without an interval
    cut = stitched(r1=1.0, r2=2 * RANK_MARGIN, r4=RANK_MARGIN / 2, r8=0.0)
    for cost in cut.ranks.values():
        cost.kl.mul_(1 + 1e-4 * sums(3, 1))
    assert cut.rank_needed == 4
