import math

import pytest
import torch

from toolkit.experiments.harmonic_probes.accuracy import Task, accuracy, by_token_alone, guessed, reached


def task(streams) -> Task:
    return Task.of(streams, "one", 0, None)


def test_both_probes_tell_planted_centres_apart(planted, centres):
    found = task(planted(centres)).compared(task(planted(centres)).each_draw())
    assert found.logistic.value > 0.97
    assert found.harmonic.value > 0.97
    assert found.difference.value == pytest.approx(found.harmonic.value - found.logistic.value)
    assert found.beyond_token.value == pytest.approx(found.logistic.value - 0.25)
    assert found.n == 16 * 12


def test_what_a_document_adds_does_not_tell_the_classes_of_other_documents(planted, centres):
    streams = planted(torch.zeros_like(centres), of_document=3.0, by_document=True)
    found = task(streams).compared(task(streams).each_draw())
    for each in (found.logistic, found.harmonic):
        assert each.low < 0.25 < each.high


def test_probes_of_shuffled_labels_are_at_chance(planted, centres):
    streams = planted(centres, by_document=True)
    own = task(streams)
    found = own.on_shuffled_labels(own.each_draw(), torch.Generator().manual_seed(0))
    for each in (found.logistic, found.harmonic):
        assert each.low < 0.25 < each.high


def test_with_fewer_tokens_accuracy_falls_and_the_target_lies_between(planted, centres):
    own = task(planted(centres, noise=1.2))
    most = own.compared(own.each_draw())
    found = own.with_fewer(most, torch.Generator().manual_seed(0))
    assert list(found.by_tokens) == [40, 80, 160, 192]
    curve = [each.logistic.value for each in found.by_tokens.values()]
    assert curve[0] < curve[-1]
    assert found.target == pytest.approx(0.25 + 0.9 * (most.logistic.value - 0.25))
    assert found.reached["logistic"] == pytest.approx(
        reached({n: each.logistic.value for n, each in found.by_tokens.items()}, found.target)
    )


def test_a_curve_reaches_its_target_between_points_by_the_logarithm():
    assert reached({10: 0.5, 40: 0.7}, 0.6) == pytest.approx(20.0)
    assert reached({10: 0.5, 40: 0.7}, 0.4) == 10.0
    assert reached({10: 0.5, 40: 0.7}, 0.8) is None


def test_a_token_that_tells_nothing_gives_chance(planted, centres):
    streams = planted(centres)
    assert accuracy(by_token_alone(streams), streams).value == pytest.approx(0.25)


def test_the_interval_contains_how_draws_vary(planted, centres):
    streams = planted(centres, noise=1.2)
    right = (torch.rand(1, 192, generator=torch.Generator().manual_seed(0)) < 0.8).double()
    alike = accuracy(right.expand(3, -1), streams)
    other = accuracy(torch.stack([right[0], right[0] * 0, right[0] * 0 + 1]), streams)
    assert alike.high - alike.low < 0.2 < other.high - other.low
    assert not math.isnan(other.value)


def test_activations_that_are_all_alike_tell_nothing(planted, centres):
    alike = task(planted(torch.zeros_like(centres), noise=0.0))
    assert alike.tells_nothing
    assert not task(planted(centres)).tells_nothing
    found = guessed(alike.streams).compared()
    assert found.logistic.value == found.harmonic.value == 0.25
    assert found.difference.value == 0
