import math

import pytest
import torch

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.initialisation import estimate_scale, initialise


def activations() -> torch.Tensor:
    x = torch.randn(200, 4, 6, generator=torch.Generator().manual_seed(0))
    return x * torch.tensor([1.0, 5.0, 0.2, 3.0])[:, None] + 2


def test_scaled_activations_have_mean_norm_sqrt_d():
    x = activations()
    scaled = x * estimate_scale(x)[:, None]
    torch.testing.assert_close(scaled.norm(dim=2).mean(dim=0), torch.full((4,), math.sqrt(6)))


def test_a_stream_of_zeros_is_refused():
    x = activations()
    x[:, 2] = 0
    with pytest.raises(ValueError, match="every stream must carry a signal"):
        estimate_scale(x)


def test_rows_are_equal_across_models_tied_and_of_the_asked_norm():
    config = TrainingConfig(n_latents=40, k=3, decoder_init_norm=0.3)
    state = initialise(config, 2, activations(), torch.Generator().manual_seed(1))
    by_model = state["W_dec"].view(40, 2, 2, 6)
    assert torch.equal(by_model[:, 0], by_model[:, 1])
    assert not torch.equal(by_model[:, :, 0], by_model[:, :, 1])
    torch.testing.assert_close(by_model.norm(dim=3), torch.full((40, 2, 2), 0.3))
    assert torch.equal(state["W_enc"], state["W_dec"])


def test_biases_take_the_mean_out():
    config = TrainingConfig(n_latents=40, k=3)
    x = activations()
    state = initialise(config, 2, x, torch.Generator().manual_seed(1))
    scaled = (x * state["scale"][:, None]).flatten(1)
    torch.testing.assert_close(state["b_dec"], scaled.mean(dim=0))
    pre_activations = scaled @ state["W_enc"].t() + state["b_enc"]
    torch.testing.assert_close(pre_activations.mean(dim=0), torch.zeros(40), atol=1e-4, rtol=0)


def test_designated_latents_start_within_the_partition():
    config = TrainingConfig(n_latents=10, k=3, n_shared=2, n_exclusive=3)
    state = initialise(config, 2, activations(), torch.Generator().manual_seed(1))
    norms = state["W_dec"].view(10, 2, 12).norm(dim=2)
    assert (norms[2:5, 1] == 0).all()
    assert (norms[5:8, 0] == 0).all()
    assert (norms[:2] > 0).all()
