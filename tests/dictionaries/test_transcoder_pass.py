"""A transcoder's output and its gradients, against autograd on the definition."""

import pretended_device
import pytest
import torch
from torch import Tensor

from toolkit.adapters.ordered_sums import ordered_sums
from toolkit.dictionaries import transcoder_pass
from toolkit.dictionaries.transcoder_pass import transcode

D_MODEL, LATENTS, TOKENS = 6, 40, 30


def definition(
    x: Tensor, W_enc: Tensor, b_enc: Tensor, W_dec: Tensor, b_dec: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    codes = torch.relu(x @ W_enc.t() + b_enc)
    return codes @ W_dec + b_dec, (weights[:, None] * codes * W_dec.norm(dim=1)).sum()


@pytest.fixture
def tensors() -> list[Tensor]:
    chance = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=chance)

    weights = torch.rand(TOKENS, generator=chance)
    weights[-5:] = 0
    return [
        draw(TOKENS, D_MODEL),
        draw(LATENTS, D_MODEL),
        draw(LATENTS) - 3,
        draw(LATENTS, D_MODEL),
        draw(D_MODEL),
        weights,
    ]


@pytest.mark.parametrize("dense_from", [0.0, 1.0], ids=["dense", "sparse"])
def test_output_penalty_and_gradients_are_those_of_the_definition(
    tensors: list[Tensor], dense_from: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcoder_pass, "DENSE_FROM", {"cpu": dense_from})
    leaves = [each.clone().requires_grad_() for each in tensors[:5]]
    expected, penalty = definition(*leaves, tensors[5])
    wanted = torch.autograd.grad((expected.sin().sum() + 3 * penalty), leaves)
    found, found_penalty, fired = transcode(*leaves, tensors[5])
    gradients = torch.autograd.grad((found.sin().sum() + 3 * found_penalty), leaves)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found_penalty, penalty)
    for gradient, each in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, each, atol=1e-4, rtol=1e-4)
    codes = torch.relu(tensors[0] @ tensors[1].t() + tensors[2])
    assert fired.tolist() == (codes[:-5] > 0).sum(dim=0).tolist()


@pytest.mark.parametrize("dense_from", [0.0, 1.0], ids=["dense", "sparse"])
def test_in_bf16_gradients_of_the_weights_are_fp32_and_near_the_definition(
    tensors: list[Tensor], dense_from: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcoder_pass, "DENSE_FROM", {"cpu": dense_from})
    x = tensors[0].bfloat16()
    leaves = [x.float().requires_grad_(), *(each.bfloat16().float().requires_grad_() for each in tensors[1:5])]
    expected, penalty = definition(*leaves, tensors[5])
    wanted = torch.autograd.grad(expected.sum() + 3 * penalty, leaves)
    found, found_penalty, _ = transcode(x.requires_grad_(), *leaves[1:], tensors[5])
    gradients = torch.autograd.grad(found.sum() + 3 * found_penalty, [x, *leaves[1:]])
    assert [each.dtype for each in (found, *gradients)] == [torch.bfloat16] * 2 + [torch.float32] * 4
    for one, other in zip((found, found_penalty, *gradients), (expected, penalty, *wanted), strict=True):
        assert (one.float() - other).norm() < 0.02 * other.norm()


def test_a_decoder_of_zeros_gets_finite_gradients(tensors: list[Tensor]) -> None:
    tensors[3].zero_()
    leaves = [each.clone().requires_grad_() for each in tensors[:5]]
    found, penalty, _ = transcode(*leaves, tensors[5])
    for gradient in torch.autograd.grad(found.sin().sum() + penalty, leaves):
        assert gradient.isfinite().all()


def test_away_from_a_cpu_products_are_dense_where_torch_is_to_keep_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcoder_pass, "DENSE_FROM", {pretended_device.AWAY.type: 0.9, "cpu": 0.9})
    monkeypatch.setattr(transcoder_pass, "FEWEST_SPARSE", {})
    here = torch.eye(8)
    with pretended_device.present():
        for codes, sparse in ((here, True), (here.to(pretended_device.AWAY), False)):
            assert transcoder_pass._firing(codes) is not None
            with ordered_sums(True):
                assert (transcoder_pass._firing(codes) is not None) is sparse
