import pytest

from toolkit.dictionaries.configs import CrosscoderConfig, TrainingConfig

SHAPE = {
    "d_model": 4,
    "models": ("base", "distilled"),
    "layers": (3, 5),
    "n_latents": 8,
    "sparsity": "topk",
    "k": 2,
}


def test_streams_are_models_times_layers():
    assert CrosscoderConfig(**SHAPE).n_streams == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 9}, "k = 9 is more than n_latents = 8"),
        ({"d_model": 0}, "d_model 0: must be at least 1"),
        ({"n_shared": 5, "n_exclusive": 2}, "are 9, more than n_latents = 8"),
        ({"models": ()}, "at least one model"),
        ({"sources": ("some/base",)}, "1 sources for 2 models: give one for each, or none"),
    ],
)
def test_impossible_crosscoders_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        CrosscoderConfig(**SHAPE | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 40_000}, "k = 40000 is more than n_latents = 32768"),
        ({"lr": -1e-4}, "lr -0.0001: must be above 0, and finite"),
        ({"lr": float("inf")}, "lr inf: must be above 0, and finite"),
        (
            {"sparsity_coefficient": float("nan")},
            "sparsity_coefficient nan: must be 0",
        ),
        ({"threshold_decay": 1.0}, "threshold_decay 1.0: must be at least 0, and below 1"),
        ({"aux_coefficient": -1.0}, "aux_coefficient -1.0: must be 0, which switches it off, or above"),
        ({"lr_decay_share": 1.5}, "lr_decay_share 1.5: must be from 0 to 1"),
        ({"tokens": 100}, "less than one batch of 2048"),
    ],
)
def test_impossible_training_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**change)


def test_l1_ignores_k():
    assert TrainingConfig(sparsity="l1", n_latents=50).n_latents == 50


def test_steps_are_whole_batches():
    assert TrainingConfig(tokens=10_000, batch_tokens=3000).steps == 3
