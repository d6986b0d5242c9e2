import math
from dataclasses import replace

import pytest
import torch

from toolkit.experiments.harmonic_probes.accuracy import Task
from toolkit.experiments.harmonic_probes.centres import ClassPoints, agreement, spread_over_draws


def chance() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def points(planted, centres: torch.Tensor, **how) -> ClassPoints:
    task = Task.of(planted(centres, **how), "one", 0, None)
    return ClassPoints.of(task, task.each_draw())


def moved(own: ClassPoints, change) -> ClassPoints:
    return replace(own, harmonic=change(own.harmonic))


@pytest.fixture(scope="module")
def own(planted, centres) -> ClassPoints:
    return points(planted, centres)


def test_means_and_their_spread_are_the_planted_ones(own, centres):
    assert torch.allclose(own.means, centres.double().expand(3, -1, -1), atol=0.25)
    assert own.spread.tolist() == pytest.approx([0.3 * math.sqrt(8)] * 3, rel=0.1)


def test_found_distances_lie_in_the_order_of_the_planted_ones(own, centres):
    found = own.found()
    planted = torch.cdist(centres, centres)
    order = sorted(found.distances, key=lambda pair: found.distances[pair])
    assert order == sorted(
        found.distances, key=lambda pair: float(planted["abcd".index(pair[0]), "abcd".index(pair[1])])
    )
    assert found.cosine_with_means.value > 0.9
    assert all(value < 0.5 for value in found.spread_over_draws.values())


def test_draws_that_agree_have_no_spread_and_draws_of_noise_have_one_above_1():
    one = torch.randn(1, 4, 50, generator=chance()).double()
    assert spread_over_draws(one.expand(3, -1, -1)) == pytest.approx(0, abs=1e-6)
    assert spread_over_draws(3 * one * torch.tensor([1, 2, 3.0]).double()[:, None, None]) == pytest.approx(0, abs=1e-6)
    assert spread_over_draws(torch.randn(3, 4, 50, generator=chance()).double()) > 1
    assert math.isnan(spread_over_draws(one))


def test_a_turned_and_moved_copy_has_the_same_shape_in_other_directions(own):
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=chance()).double())[0]
    found = agreement(own, moved(own, lambda x: 2 * x @ rotation + 5), chance())
    assert found.shape.procrustes.value == pytest.approx(found.shape.procrustes_between_draws, abs=1e-6)
    assert found.shape.procrustes.value > 0.95
    assert found.shape.distances.value > 0.9
    assert found.shape.procrustes_p == found.shape.distances_p == 1 / 24
    assert found.shape.permutations == 24
    assert found.cosine.value < 0.8 < found.cosine_between_draws


def test_a_copy_with_other_classes_agrees_no_more_than_permuted_ones(own):
    found = agreement(own, moved(own, lambda x: x[:, [3, 0, 1, 2]]), chance())
    assert found.shape.procrustes.value < 0.9
    assert found.shape.procrustes_p > 0.05
    assert found.cosine.value < 0


def test_the_same_model_agrees_with_itself_as_far_as_its_draws_do(own):
    found = agreement(own, own, chance())
    assert found.cosine.value == pytest.approx(found.cosine_between_draws)
    assert found.shape.procrustes.value == pytest.approx(found.shape.procrustes_between_draws)


def test_two_classes_have_a_direction_and_no_shape(planted, centres):
    own = points(planted, centres[:2])
    found = agreement(own, own, chance())
    assert found.shape is None
    assert found.cosine.value > 0.9
