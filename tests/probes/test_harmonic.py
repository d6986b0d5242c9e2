import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, nll_loss

from toolkit.probes.harmonic import EPSILON, HarmonicLinear, harmonic_log_probabilities

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(7, 5, generator=GENERATOR, dtype=torch.float64)
CENTRES = torch.randn(3, 5, generator=GENERATOR, dtype=torch.float64)


def layer(exponent: float = 4.0) -> HarmonicLinear:
    made = HarmonicLinear(5, 3, exponent=exponent).double()
    with torch.no_grad():
        made.weight.copy_(CENTRES)
    return made


@pytest.mark.parametrize("exponent", [0.5, 2.0, 7.0])
def test_probabilities_fall_with_a_power_of_the_distance(exponent):
    distance = ((X[:, None] - CENTRES).square().sum(dim=2) + EPSILON).sqrt()
    powers = distance**-exponent
    torch.testing.assert_close(layer(exponent)(X).exp(), powers / powers.sum(dim=1, keepdim=True))


def test_the_exponent_is_twice_that_of_the_authors_code():
    squared = (X[:, None] - CENTRES).square().sum(dim=2) + EPSILON
    on_squared = (squared / squared.amin(dim=1, keepdim=True)) ** -2.0
    torch.testing.assert_close(layer(4.0)(X).exp(), on_squared / on_squared.sum(dim=1, keepdim=True))


def test_gradients_are_those_of_finite_differences():
    def log_probabilities(x, centres):
        return harmonic_log_probabilities(x, centres, 3.0)

    assert torch.autograd.gradcheck(log_probabilities, (X.clone().requires_grad_(), CENTRES.clone().requires_grad_()))


def test_cross_entropy_of_what_it_gives_is_the_harmonic_loss():
    y = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    torch.testing.assert_close(cross_entropy(layer()(X), y), nll_loss(layer()(X), y))


def test_a_point_on_a_centre_has_finite_gradients():
    made = HarmonicLinear(4, 3, exponent=20.0)
    x = made.weight[1].detach().clone().requires_grad_()
    found = made(x)
    found[0].backward()
    assert found.argmax() == 1
    assert x.grad is not None
    assert made.weight.grad is not None
    assert x.grad.isfinite().all()
    assert made.weight.grad.isfinite().all()


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_tiny_and_huge_activations_give_probabilities(scale):
    found = harmonic_log_probabilities(X.float() * scale, CENTRES.float() * scale, 8.0)
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(7))


def test_distances_far_below_the_norms_are_told_apart():
    far = 1e4
    exact = harmonic_log_probabilities(X + far, CENTRES + far, 4.0)
    found = harmonic_log_probabilities((X + far).float(), (CENTRES + far).float(), 4.0)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=0.05)  # single precision holds X + far to .001


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single(dtype):
    made = HarmonicLinear(5, 3, exponent=4.0).to(dtype)
    with torch.no_grad():
        made.weight.copy_(CENTRES)
    x = X.to(dtype)
    found = made(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, harmonic_log_probabilities(x.float(), made.weight.float(), 4.0))


def test_batch_dimensions_stay():
    x = X[:6].reshape(2, 3, 5)
    torch.testing.assert_close(layer()(x), layer()(X[:6]).reshape(2, 3, 3))
    assert layer()(X[:0]).shape == (0, 3)


def test_it_trains_as_the_last_layer_of_a_model():
    torch.manual_seed(0)
    y = (X[:, 0] > 0).long()
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), HarmonicLinear(8, 2, exponent=math.sqrt(8))).double()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(100):
        optimiser.zero_grad()
        cross_entropy(model(X), y).backward()
        optimiser.step()
    assert torch.equal(model(X).argmax(dim=1), y)


@pytest.mark.parametrize("exponent", [0.0, -1.0, math.inf, math.nan])
def test_an_exponent_that_is_not_above_0_is_refused(exponent):
    with pytest.raises(ValueError, match="exponent"):
        HarmonicLinear(5, 3, exponent=exponent)
