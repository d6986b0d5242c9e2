"""The truth is autograd in float64 on the losses written out."""

import pytest
import torch

from toolkit.dictionaries import dense_pass
from toolkit.dictionaries.rules.jumprelu import jumprelu_pass
from toolkit.dictionaries.rules.l1 import l1_pass

COEFFICIENT, BANDWIDTH = 0.7, 1.5


def activations(dtype=torch.float32, n=50) -> torch.Tensor:
    return torch.randn(n, 15, generator=torch.Generator().manual_seed(1)).to(dtype)


def compare(found, loss, leaves, tolerance):
    for gradient, truth in zip(found.gradients.named().values(), torch.autograd.grad(loss, leaves), strict=True):
        assert (gradient - truth).norm() <= tolerance * truth.norm()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_l1_gradients_match_autograd(make_weights, make_batch, dtype, tolerance):
    x, weights = activations(dtype), make_weights(dtype=dtype)
    found = l1_pass(make_batch(x, weights, COEFFICIENT, dtype))
    leaves = [tensor.double().requires_grad_() for tensor in weights[:4]]
    W_enc, b_enc, W_dec, b_dec = leaves
    codes = torch.relu(x.double() @ W_enc.t() + b_enc)
    penalty = (codes * W_dec.view(-1, 3, 5).norm(dim=2).sum(dim=1)).sum(dim=1).mean()
    loss = (codes @ W_dec + b_dec - x).square().sum(dim=1).mean() + COEFFICIENT * penalty
    compare(found, loss, leaves, tolerance)
    assert found.sparsity_loss.item() == pytest.approx(penalty.item(), rel=1e-5)
    assert torch.equal(found.fired, (codes > 0).sum(dim=0))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_jumprelu_gradients_match_straight_through_autograd(make_weights, make_batch, dtype, tolerance):
    x, weights = activations(dtype), make_weights(dtype=dtype, thresholds=True)
    norms = weights.decoder_norms(3).sum(dim=1)
    found = jumprelu_pass(make_batch(x, weights, COEFFICIENT, dtype, jumprelu_bandwidth=BANDWIDTH))
    leaves = [tensor.double().requires_grad_() for tensor in weights.named().values()]
    W_enc, b_enc, W_dec, b_dec, log_threshold = leaves
    threshold, norms = log_threshold.exp(), norms.double()
    activity = x.double() @ W_enc.t() + b_enc
    # A ramp of width BANDWIDTH stands in for the step, for θ alone: its slope is the rectangular window.
    ramp = ((activity.detach() * norms - threshold) / BANDWIDTH + 0.5).clamp(0, 1)
    fires = (activity * norms > threshold).double()
    step = fires + ramp - ramp.detach()
    codes = activity * fires + (threshold / norms).detach() * (step - fires)
    loss = (codes @ W_dec + b_dec - x).square().sum(dim=1).mean() + COEFFICIENT * step.sum(dim=1).mean()
    compare(found, loss, leaves, tolerance)
    assert found.sparsity_loss.item() == pytest.approx(fires.sum(dim=1).mean().item())


def test_an_exclusive_latent_gets_finite_gradients(make_weights, make_batch):
    weights = make_weights()
    weights.W_dec[0, :5] = 0
    found = l1_pass(make_batch(activations(), weights, COEFFICIENT))
    assert found.gradients.W_dec.isfinite().all()


@pytest.fixture
def mixed_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of bf16 matrices in fp32, which a GPU has, on this CPU."""
    monkeypatch.setattr(dense_pass, "MIXED_PRODUCTS", {"cpu"})
    mm = torch.mm

    def mixed(a: torch.Tensor, b: torch.Tensor, *, out: torch.Tensor, out_dtype: torch.dtype | None = None):
        return mm(a, b, out=out) if out_dtype is None else mm(a.to(out_dtype), b.to(out_dtype), out=out)

    monkeypatch.setattr(torch, "mm", mixed)


@pytest.mark.parametrize("run_pass", [l1_pass, jumprelu_pass])
@pytest.mark.parametrize("mixed", [False, True])
def test_bf16_products_stay_near_fp32(make_weights, make_batch, request, run_pass, mixed):
    if mixed:
        request.getfixturevalue("mixed_products")
    x, weights = activations(n=2000), make_weights(thresholds=run_pass is jumprelu_pass)
    exact, found = (
        run_pass(make_batch(x, weights, COEFFICIENT, dtype, jumprelu_bandwidth=BANDWIDTH))
        for dtype in (torch.float32, torch.bfloat16)
    )
    for name, gradient in found.gradients.named().items():
        truth = exact.gradients.named()[name]
        tolerance = 0.1 if name == "log_threshold" else 0.01  # its window is narrow, and codes cross the edges
        assert gradient.dtype == torch.float32
        assert (gradient - truth).norm() <= tolerance * truth.norm(), name
    assert (found.fired - exact.fired).abs().max() <= 0.01 * len(x)


def test_high_jumprelu_thresholds_learn_in_bf16_too(make_weights, make_batch):
    x, weights = activations(n=100_000), make_weights(thresholds=True)
    weights.extra["log_threshold"].fill_(6.0).log_()  # sixty times the window's width
    exact, found = (
        jumprelu_pass(make_batch(x, weights, COEFFICIENT, dtype)).gradients.extra["log_threshold"]
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert (found @ exact) / exact.square().sum() > 0.9
