import pytest
import torch
from torch import Tensor

from toolkit.models.places.ndif.wire import pack, unpack


@pytest.fixture
def activations() -> Tensor:
    """Tokens whose norms differ by factors of a thousand, the last of them zero."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([1e-2, 1.0, 30.0, 0.0])[:, None, None]
    return torch.randn(4, 2, 64, generator=generator) * scales


def relative_error(approximate: Tensor, exact: Tensor) -> float:
    return float((approximate.double() - exact.double()).square().sum() / exact.double().square().sum())


def test_no_wire_type_leaves_all_as_it_is(activations: Tensor) -> None:
    (values,) = pack(activations, None)
    assert values is activations


def test_fp32_is_exact(activations: Tensor) -> None:
    values, scales, sums = pack(activations, "fp32")
    assert torch.equal(unpack(values, scales), activations)
    assert sums[0] == 0


def test_bf16_is_torchs(activations: Tensor) -> None:
    values, scales, _ = pack(activations, "bf16")
    assert torch.equal(unpack(values, scales), activations.bfloat16())


def test_int8_is_within_half_a_step_of_each_tokens_own_scale(activations: Tensor) -> None:
    values, scales, _ = pack(activations, "int8")
    assert values.dtype == torch.int8
    assert scales.shape == (4, 2, 1)
    step = activations.abs().amax(dim=-1, keepdim=True) / 127
    assert ((unpack(values, scales) - activations).abs() <= 0.5001 * step).all()


@pytest.mark.parametrize("wire", ["fp32", "bf16", "int8"])
def test_the_error_reported_is_that_of_what_arrives(activations: Tensor, wire: str) -> None:
    values, scales, sums = pack(activations, wire)
    assert float(sums[0] / sums[1]) == pytest.approx(relative_error(unpack(values, scales), activations), rel=1e-6)


@pytest.mark.parametrize("wire", ["fp32", "bf16", "int8"])
def test_nan_stays_nan(activations: Tensor, wire: str) -> None:
    activations[1, 0, 3] = torch.nan
    values, scales, _ = pack(activations, wire)
    assert unpack(values, scales)[1, 0, 3].isnan()


@pytest.mark.parametrize("wire", ["fp32", "bf16", "int8"])
def test_no_token_at_all_is_no_error(wire: str) -> None:
    values, scales, sums = pack(torch.zeros(0, 2, 8), wire)
    assert unpack(values, scales).shape == (0, 2, 8)
    assert sums.tolist() == [0, 0]
