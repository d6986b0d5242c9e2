import pytest

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.schedules import kept_latents, learning_rate, sparsity_weight

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
