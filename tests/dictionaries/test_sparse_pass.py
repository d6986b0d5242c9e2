"""The truth is autograd on a dense forward pass with the selection held fixed."""

from typing import Any

import pytest
import torch

from toolkit.dictionaries.rules.batchtopk import batchtopk_pass, memory
from toolkit.dictionaries.rules.topk import topk_pass
from toolkit.dictionaries.weights import Pass, Weights, Workspace

K = 4


def activations(n: int = 50) -> torch.Tensor:
    return torch.randn(n, 15, generator=torch.Generator().manual_seed(1))


def selected(x: torch.Tensor, weights: Weights, per_token: bool) -> torch.Tensor:
    scores = torch.relu(x @ weights.W_enc.t() + weights.b_enc) * weights.decoder_norms(3).sum(dim=1)
    if per_token:
        return (scores >= scores.topk(K, dim=1).values[:, -1:]) & (scores > 0)
    return scores >= scores.flatten().topk(K * len(x)).values[-1]


def autograd(x: torch.Tensor, weights: Weights, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
    leaves = [tensor.clone().requires_grad_() for tensor in weights[:4]]
    W_enc, b_enc, W_dec, b_dec = leaves
    codes = torch.relu(x @ W_enc.t() + b_enc) * mask
    loss = (codes @ W_dec + b_dec - x).square().sum(dim=1).mean()
    return torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("last_cut", [None, 0.0, 8.0], ids=["topk", "batchtopk, first", "batchtopk"])
def test_gradients_match_autograd(make_weights, make_batch, last_cut):
    x, weights = activations(), make_weights()
    per_token = last_cut is None
    batch = make_batch(x, weights, K, memory=memory(last_cut=last_cut or 0.0))
    found = topk_pass(batch) if per_token else batchtopk_pass(batch)
    mask = selected(x, weights, per_token)
    for gradient, truth in zip(found.gradients[:4], autograd(x, weights, mask), strict=True):
        assert (gradient - truth).norm() <= 1e-5 * truth.norm()
    assert torch.equal(found.fired, mask.sum(dim=0))
    codes = torch.relu(x @ weights.W_enc.t() + weights.b_enc) * mask
    torch.testing.assert_close(found.error, codes @ weights.W_dec + weights.b_dec - x)


def in_tf32(name: str, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Let dense fp32 products by this function of torch round their factors to 10 bits, as a GPU does; return what they
    give."""
    found, exact = [], getattr(torch, name)

    def rounded(matrix: torch.Tensor) -> torch.Tensor:
        return (matrix.view(torch.int32) + 2**12 & -(2**13)).view(torch.float32)

    def product(*given: torch.Tensor, **options: Any) -> torch.Tensor:
        *start, a, b = given
        if a.layout != torch.strided or a.dtype != torch.float32:
            return exact(*given, **options)
        found.append(exact(*start, rounded(a), rounded(b), **options))
        return found[-1]

    monkeypatch.setattr(torch, name, product)
    return found


@pytest.mark.parametrize("per_token", [True, False], ids=["topk", "batchtopk"])
@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_rounded_products_find_candidates_whose_codes_are_computed_in_fp32(
    make_weights, make_batch, monkeypatch, precision, per_token
):
    x, weights = activations(), make_weights()

    def run(dtype: torch.dtype, precision: str) -> Pass:
        batch = make_batch(x, weights, K, dtype, memory(last_cut=8.0), precision=precision)
        return topk_pass(batch) if per_token else batchtopk_pass(batch)

    exact = run(torch.float32, "fp32")
    if precision == "bf16":
        found = run(torch.bfloat16, "bf16")
    else:
        rounded = in_tf32("addmm" if per_token else "mm", monkeypatch)
        found = run(torch.float32, "tf32")
        true = (x @ weights.W_enc.t() + per_token * weights.b_enc) * weights.decoder_norms(3).sum(dim=1)
        assert (rounded[0].t() - true).norm() >= 1e-4 * true.norm()
    assert torch.equal(found.fired, exact.fired)
    for gradient, truth in zip(found.gradients[:4], exact.gradients[:4], strict=True):
        assert (gradient - truth).norm() <= 1e-5 * truth.norm()


def test_a_reused_workspace_changes_nothing(make_weights, make_batch):
    weights, workspace = make_weights(), Workspace()
    batch = make_batch(activations(), weights, K, memory=memory(), workspace=workspace)
    batchtopk_pass(batch._replace(x=activations() * torch.nan))
    again, fresh = batchtopk_pass(batch), batchtopk_pass(batch._replace(workspace=Workspace()))
    for gradient, truth in zip(again.gradients[:4], fresh.gradients[:4], strict=True):
        assert torch.equal(gradient, truth)


def test_nothing_fires_where_all_scores_are_negative(make_weights, make_batch):
    weights = make_weights()
    weights.b_enc.fill_(-1000)
    found = batchtopk_pass(make_batch(activations(), weights, K, memory=memory()))
    assert found.fired.sum() == 0
    torch.testing.assert_close(found.error, weights.b_dec - activations())
