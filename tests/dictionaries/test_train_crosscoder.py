import re
from itertools import islice

import numpy as np
import pytest
import torch

from toolkit import Crosscoder, TrainingConfig, evaluate, train_crosscoder
from toolkit.dictionaries.activation_batches import NonFiniteError, batches_of, rebatched
from toolkit.library_warnings import ToolkitWarning

SETTINGS = {"n_latents": 64, "k": 3, "k_initial": 10, "batch_tokens": 256, "lr": 6e-3, "decoder_init_norm": 0.2}


@pytest.fixture
def x(planted) -> torch.Tensor:
    """100 batches of 256 tokens of planted features, as one tensor."""
    return torch.cat([*islice(planted(1), 100)])


def test_one_call_trains_on_a_tensor_to_the_end_of_fitted_schedules(x):
    steps = []
    crosscoder = train_crosscoder(x, **SETTINGS, on_step=steps.append)
    assert [metrics.step for metrics in steps] == [*range(1, 101)]
    assert (steps[-1].coefficient, steps[-1].tokens) == (3, len(x))
    assert steps[-1].lr < steps[50].lr == 6e-3
    assert crosscoder.config.models == ("base", "distilled")
    assert crosscoder.config.layers == (-1,)
    assert min(evaluate(crosscoder, x).fve.values()) > 0.6


def test_batches_of_any_size_train_as_a_tensor_of_them_would(x):
    sizes = [1, 255, 700, 0, 44, 5144]
    found = [
        train_crosscoder(given, TrainingConfig(**SETTINGS | {"tokens": 6144}), seed=3)
        for given in ([*x[:6144].split(sizes)], (part.numpy() for part in x[:6144].split(sizes)))
    ]
    assert torch.equal(found[0].W_dec, found[1].W_dec)
    assert not torch.equal(found[0].W_dec, train_crosscoder(x[:6144], **SETTINGS, seed=4).W_dec)


@pytest.mark.parametrize(
    ("n_streams", "given", "models", "layers"),
    [
        (1, {}, ("model_0",), (-1,)),
        (1, {"models": "qwen", "layers": 14}, ("qwen",), (14,)),
        (3, {}, ("model_0", "model_1", "model_2"), (-1,)),
        (4, {"models": ["a", "b"]}, ("a", "b"), (-2, -1)),
        (4, {"layers": (3, 5)}, ("base", "distilled"), (3, 5)),
    ],
)
def test_any_number_of_models_and_layers_is_named(n_streams, given, models, layers):
    x = torch.randn(512, n_streams, 8, generator=torch.Generator().manual_seed(0))
    crosscoder = train_crosscoder(x, n_latents=16, k=2, batch_tokens=64, **given)
    assert (crosscoder.config.models, crosscoder.config.layers) == (models, layers)
    assert crosscoder(x).shape == x.shape


def test_few_tokens_are_one_batch_and_more_passes_are_a_list(x):
    steps = []
    train_crosscoder([x[:100]] * 3, n_latents=16, k=2, on_step=steps.append)
    assert [metrics.tokens for metrics in steps] == [300]


def test_what_is_trained_is_saved_and_loaded_like_any_other(x, tmp_path):
    crosscoder = train_crosscoder(x[:2048], **SETTINGS, models=("a", "b"), layers=7)
    crosscoder.save_pretrained(str(tmp_path))
    assert torch.equal(Crosscoder.from_pretrained(str(tmp_path), device="cpu").encode(x[:9]), crosscoder.encode(x[:9]))


def test_activations_that_end_early_are_told(x):
    with pytest.warns(ToolkitWarning, match=r"ended after 1,024 of 4,096 tokens.*give more, or tokens=1024"):
        train_crosscoder(iter([x[:1024]]), **SETTINGS, tokens=4096)


@pytest.mark.parametrize(
    ("activations", "settings", "message"),
    [
        (
            torch.zeros(9, 4),
            {},
            "activations of shape (9, 4): give [token, stream, d_model], one stream for each model",
        ),
        (torch.zeros(9, 4), {}, "those of one model alone are x[:, None]"),
        (torch.zeros(9, 0, 4), {}, "activations of shape (9, 0, 4)"),
        (torch.zeros(9, 2, 4).int(), {}, "activations are torch.int32: give floating-point numbers"),
        ("Wait", {}, "activations are str: give a tensor"),
        (["Wait"], {"tokens": 5}, "activations are str: give a tensor or an array"),
        ({"base": 3}, {"tokens": 5}, "activations are dict: give a tensor, or an iterable of tensors"),
        ([torch.ones(9, 2, 4), torch.ones(9, 2, 5)], {}, "shape (9, 2, 5) follows one of shape (9, 2, 4)"),
        ([], {}, "the activations hold no tokens"),
        (torch.zeros(0, 2, 4), {}, "the activations hold no tokens"),
        (iter([torch.ones(9, 2, 4)]), {}, "do not say how many tokens they hold: give tokens="),
        (iter([torch.ones(9, 2, 4)]), {"tokens": 64, "batch_tokens": 16}, "hold less than one batch of 16 tokens"),
        (torch.ones(9, 2, 4), {"tokens": 10}, "tokens=10: the activations hold 9; leave it out"),
        (
            torch.ones(9, 2, 4),
            {"models": ("a", "b", "c")},
            "2 streams, but models ('a', 'b', 'c') at layers (-1,) make 3",
        ),
        (torch.ones(9, 2, 4), {"layers": (1, 2, 3)}, "2 streams, but models ('model_0',) at layers (1, 2, 3) make 3"),
    ],
)
def test_activations_that_cannot_be_are_refused_with_value_limit_and_remedy(activations, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        train_crosscoder(activations, **{"n_latents": 16, "k": 2} | settings)


def test_numbers_that_are_not_finite_are_named():
    x = torch.ones(64, 2, 4)
    x[3, 1] = torch.nan
    with pytest.raises(NonFiniteError, match=r"stream 1.*not finite 1.56%"):
        train_crosscoder(x, n_latents=16, k=2, batch_tokens=16)


def test_rebatching_gives_each_token_once_in_batches_of_one_size():
    parts = [torch.arange(start, end).view(-1, 1, 1).float() for start, end in ((0, 3), (3, 20), (20, 23))]
    batches = [*rebatched(batches_of(parts), 5, torch.Generator().manual_seed(0))]
    assert [len(batch) for batch in batches] == [5] * 4
    taken = torch.cat(batches).flatten()
    assert len(taken.unique()) == 20
    assert taken.tolist() != sorted(taken.tolist())
    assert {0, 1, 2} <= set(taken[:5].tolist())


def test_a_large_tensor_or_array_is_taken_in_pieces_and_a_list_as_it_is():
    x = np.ones((5000, 1, 2), dtype=np.float32)
    assert [len(batch) for batch in batches_of(x)] == [4096, 904]
    assert [len(batch) for batch in batches_of([x, x[:3]])] == [5000, 3]
