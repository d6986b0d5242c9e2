"""The truth is planted: the last model has a direction for each of two labels, which the first one lacks."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.experiments.compare_methods.methods import METHODS, Units
from toolkit.experiments.compare_methods.reading import PairText, difference
from toolkit.experiments.compare_methods.study import (
    DENSE,
    SPARSE,
    found_by,
    on_choosing_half,
    probe_ceiling,
    random_floors,
)
from toolkit.latents.labelled_units import UnitsForLabel, spreads_over, units_for_labels
from toolkit.latents.random_dictionary import firings
from toolkit.statistics.estimates import GIVEN_ONE

PLAN = TrainingConfig(
    tokens=12_800, batch_tokens=64, n_latents=16, k=2, k_initial=4, k_anneal_steps=10, lr=0.02, lr_warmup_steps=5,
    decoder_init_norm=0.2, dead_after_tokens=1000, jumprelu_threshold=0.5, jumprelu_bandwidth=0.5,
    sparsity_coefficient=0.3,
)  # fmt: skip
SPARSITY = {"crosscoder, topk": "topk", "crosscoder, l1": "l1", "crosscoder, jumprelu": "jumprelu"}
CHANGES = {"crosscoder, exclusive latents": {"n_exclusive": 4}, "crosscoder, delta loss": {"difference_weight": 4.0}}
LEARNING = [name for name in METHODS if name != "change of predictions"]


def plan_of(name: str) -> TrainingConfig:
    return replace(PLAN, sparsity=SPARSITY.get(name, "batchtopk"), **CHANGES.get(name, {}))


@pytest.fixture(scope="module")
def fitted(planted_text: PairText) -> Callable[[str, int], Units]:
    """What a method learns from the planted text with a seed, made once."""
    return cache(lambda name, seed: METHODS[name].fit(planted_text.running, plan_of(name), seed))


def chosen(text: PairText, scores: torch.Tensor) -> dict[str, UnitsForLabel]:
    return {each.label: each for each in units_for_labels(scores, text.labelled.tokens)}


@pytest.mark.parametrize("name", LEARNING)
def test_every_method_finds_what_the_last_model_alone_has(planted_text, name, fitted):
    units = fitted(name, 0)
    best = chosen(planted_text, units.score(planted_text))
    assert min(each.best.auroc.value for each in best.values()) > 0.65
    assert units.directions.shape[1] == 16
    for axis, label in enumerate(("doubt", "sums")):
        vector = units.directions[best[label].units[0]]
        planted_share = (vector[axis] / vector.norm()).abs()
        assert planted_share > (0.25 if name == "difference at first positions" else 0.4)  # by chance 0.2


def test_a_crosscoder_claims_the_units_of_the_last_model_alone(planted_text, fitted):
    name = "crosscoder, batchtopk"
    units = fitted(name, 0)
    best = chosen(planted_text, units.score(planted_text))
    assert all(units.claimed[each.units[0]] for each in best.values())
    assert not units.claimed.all()


def test_designated_units_of_the_last_model_are_claimed_and_those_of_the_first_are_not(planted_text, fitted):
    name = "crosscoder, exclusive latents"
    units = fitted(name, 0)
    assert not units.claimed[:4].any()
    assert units.claimed[4:8].all()


def test_a_dictionary_of_the_difference_reads_scaled_streams(planted_text):
    scale = torch.tensor([2.0, 0.5])
    x = planted_text.running.activations
    torch.testing.assert_close(difference(x, scale), x[:, 1] / 2 - x[:, 0] * 2)


def test_random_units_are_the_floor_and_a_probe_the_ceiling(planted_text, fitted):
    name = "SAE of the difference"
    units = fitted(name, 0)
    scores = units.score(planted_text)
    tokens = planted_text.labelled.tokens
    floors = random_floors(planted_text, firings(scores, tokens.choosing), 3, 0)
    ceilings = probe_ceiling(planted_text)
    for each in units_for_labels(scores, tokens):
        found = found_by([each], floors, tokens, spreads_over([[each]]), has_seeds=True)
        for kind in (SPARSE, DENSE):
            floor = floors[kind][each.label]
            assert floor.scores.shape == (3, int((~tokens.choosing).sum()))
            assert floor.auroc.value < found.auroc.value <= ceilings[each.label].auroc.value + 0.05
            assert found.margins[kind].value == pytest.approx(found.auroc.value - floor.auroc.value)
        assert found.auroc.note == GIVEN_ONE
        assert found.spread is None


def test_a_method_without_seeds_has_an_interval_without_reserve(planted_text, fitted):
    tokens = planted_text.labelled.tokens
    units = fitted("PCA of the difference", 0)
    floors = random_floors(planted_text, torch.full((16,), 40), 2, 0)
    for each in units_for_labels(units.score(planted_text), tokens):
        assert found_by([each], floors, tokens, spreads_over([[each]]), has_seeds=False).auroc.note == ""


def test_the_interval_over_seeds_contains_how_seeds_differ(planted_text, fitted):
    tokens = planted_text.labelled.tokens
    floors = random_floors(planted_text, torch.full((16,), 40), 2, 0)
    by_seed = [
        units_for_labels(units.score(planted_text), tokens)
        for units in (fitted("crosscoder, batchtopk", seed) for seed in (0, 1, 2))
    ]
    by_behaviour = list(zip(*by_seed, strict=True))
    spreads = spreads_over(by_behaviour)
    for each in by_behaviour:
        over_seeds = found_by(each, floors, tokens, spreads, has_seeds=True)
        values = torch.tensor([one.best.auroc.value for one in each])
        assert over_seeds.auroc.value == pytest.approx(float(values.mean()))
        assert over_seeds.spread == pytest.approx(float(values.std()))
        assert over_seeds.auroc.freedom > 2  # how seeds differ is pooled over the behaviours
    own = [torch.tensor([one.best.auroc.value for one in each]).var() for each in by_behaviour]
    assert spreads["best"].variance == pytest.approx(float(sum(own)) / len(own))


def test_the_choosing_half_is_the_even_documents(planted_text):
    tokens = planted_text.labelled.tokens
    perfect = (tokens.label[:, None] == torch.arange(2)).float()
    perfect[~tokens.choosing] = 0
    best = units_for_labels(perfect, tokens)
    assert on_choosing_half(perfect, tokens, best) == [1.0, 1.0]
    assert [each.best.auroc.value for each in best] == [0.5, 0.5]
