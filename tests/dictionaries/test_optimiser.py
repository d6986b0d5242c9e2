import pretended_device
import pytest
import torch

from toolkit.dictionaries.optimiser import MOMENTS, adam, update
from toolkit.dictionaries.weights import Weights

LR = 0.1


def state_of(weights: Weights) -> dict[str, torch.Tensor]:
    moments = {f"{each}.{name}": torch.zeros_like(w) for name, w in weights.named().items() for each in MOMENTS}
    return moments | {"step": torch.tensor(0)}


def taken(weights: Weights, gradients: Weights, *shrinks: float) -> dict[str, torch.Tensor]:
    """The weights after a step with each of these factors."""
    optimiser = adam(weights, state_of(weights))
    for shrink in shrinks:
        update(optimiser, weights, Weights(*(tensor.clone() for tensor in gradients[:4])), LR, shrink)
    return weights.named()


def on(device: torch.device, weights: Weights) -> Weights:
    return Weights(*(tensor.to(device) for tensor in weights[:4]))


@pytest.mark.parametrize("shrinks", [(1.0,), (0.01, 0.7), (0.01, 1.0)])
def test_an_accelerator_clips_within_the_step_and_a_cpu_before_it(make_weights, shrinks):
    gradients = make_weights()
    here = taken(make_weights(), gradients, *shrinks)
    with pretended_device.present():
        there = taken(on(pretended_device.AWAY, make_weights()), on(pretended_device.AWAY, gradients), *shrinks)
    for name, weight in there.items():
        torch.testing.assert_close(weight.cpu(), here[name], rtol=1e-6, atol=1e-6)


def test_gradients_count_times_the_factor(make_weights):
    gradients, shrunk = make_weights(), Weights(*(0.25 * tensor for tensor in make_weights()[:4]))
    once, expected = taken(make_weights(), gradients, 0.25), taken(make_weights(), shrunk, 1.0)
    assert all(torch.equal(once[name], weight) for name, weight in expected.items())
