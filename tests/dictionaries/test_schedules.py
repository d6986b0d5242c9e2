from dataclasses import replace

import pytest

from toolkit.dictionaries import schedules
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.rules.batchtopk import steps_before
from toolkit.dictionaries.schedules import KEPT, PENALTY, in_words, kept_latents, learning_rate, sparsity_weight
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS

CONFIG = TrainingConfig(
    tokens=1000, batch_tokens=10, n_latents=50, k=4, k_initial=24, k_anneal_steps=10, lr=1.0,
    lr_warmup_steps=4, lr_decay_share=0.2, sparsity_coefficient=2.0, sparsity_warmup_share=0.1,
)  # fmt: skip


def test_learning_rate_warms_up_stays_and_falls_to_zero():
    assert [learning_rate(CONFIG, step) for step in (0, 1, 3, 50, 80)] == [0.25, 0.5, 1, 1, 1]
    assert learning_rate(CONFIG, 90) == pytest.approx(0.5)
    assert learning_rate(CONFIG, 99) == pytest.approx(0.05)
    assert learning_rate(CONFIG, 100) == 0


def test_sparsity_weight_rises_over_its_share():
    assert [sparsity_weight(CONFIG, step) for step in (0, 5, 10, 99)] == [0, 1, 2, 2]


def test_k_falls_linearly_and_stays():
    assert [kept_latents(CONFIG, step) for step in (0, 5, 10, 99)] == [24, 14, 4, 4]


def test_k_is_never_more_than_there_are_latents():
    config = TrainingConfig(n_latents=100, k=100, k_initial=1024, k_anneal_steps=10)
    assert kept_latents(config, 0) == 100


DEFAULTS = {"real": TrainingConfig(), "embedded": EMBEDDED_DEFAULTS.training}


def of_steps(defaults: TrainingConfig, steps: int, **changes: object) -> TrainingConfig:
    return replace(defaults, tokens=steps * defaults.batch_tokens, **changes)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 50, 500, 5000, 195_312])
@pytest.mark.parametrize("name", DEFAULTS)
def test_every_schedule_is_done_long_before_a_run_of_any_length_ends(name: str, steps: int):
    training = of_steps(DEFAULTS[name], steps)
    half = steps // 2
    assert kept_latents(training, half) == training.k
    assert max(learning_rate(training, step) for step in range(half, half + 2)) == training.lr
    assert schedules.dead_after(training) <= training.tokens / 4
    assert sparsity_weight(training, steps - 1) == training.sparsity_coefficient


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_long_run_has_the_horizons_that_were_asked_for(name: str):
    training = DEFAULTS[name]
    assert schedules.warmup_steps(training) == training.lr_warmup_steps
    assert schedules.annealing_steps(training) == training.k_anneal_steps
    assert schedules.dead_after(training) == training.dead_after_tokens
    assert steps_before(training, training.k_anneal_steps, 0) is None


def test_a_sparsity_weight_that_rises_all_the_time_arrives():
    training = of_steps(CONFIG, 10, sparsity_warmup_share=1.0)
    assert [sparsity_weight(training, step) for step in (0, 9)] == [0, 2]


def test_k_starts_at_k_where_it_would_have_to_rise():
    assert {kept_latents(replace(CONFIG, k=30), step) for step in range(100)} == {30}


def test_k_falls_from_the_first_step_on_where_there_are_fewer_latents_than_it_begins_with():
    training = TrainingConfig(n_latents=100, k=20, k_initial=1024, k_anneal_steps=8)
    assert [kept_latents(training, step) for step in (0, 4, 8)] == [100, 60, 20]


def test_the_schedules_are_told_in_words():
    assert in_words(EMBEDDED_DEFAULTS.training, KEPT) == (
        "k 60 → 18 after 250 steps; learning rate 0.002 after 50 steps, falling from step 625;"
        " dead after 50,000 silent tokens"
    )
    assert in_words(of_steps(EMBEDDED_DEFAULTS.training, 50), KEPT) == (
        "k 60 → 18 after 20 steps (not 250: the run is too short);"
        " learning rate 0.002 after 10 steps (not 50: the run is too short), falling from step 40;"
        " dead after 10,240 silent tokens (not 50,000: the run is too short)"
    )
    assert in_words(replace(CONFIG, k=30, aux_coefficient=0.0), KEPT).startswith("k 30; learning rate 1 after 4 steps")
    assert in_words(replace(CONFIG, k_anneal_steps=0), KEPT).startswith("k 4; ")
    assert in_words(replace(CONFIG, sparsity="l1"), PENALTY).startswith("λ 2 after 10 steps; learning rate 1")
