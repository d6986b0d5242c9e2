"""Norms on a GPU are torch's own, and round where transformers' do; elsewhere nothing changes."""

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from toolkit.models.model.fused_norms import fuse_norms, normed


class Called(TorchFunctionMode):
    """Remembers the names of the torch functions that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, function, types, arguments=(), options=None):
        self.names.add(function.__name__)
        return function(*arguments, **(options or {}))


def llamas_norm(dtype: torch.dtype) -> nn.Module:
    norm = Qwen2RMSNorm(256).to(dtype).requires_grad_(False)
    norm.weight.normal_(generator=torch.Generator().manual_seed(0))
    return norm


def stream(dtype: torch.dtype) -> Tensor:
    return (torch.randn(64, 256, generator=torch.Generator().manual_seed(1)) * 30).to(dtype)


def names_of_a_pass(norm: nn.Module, x: Tensor) -> set[str]:
    with Called() as called:
        norm(x)
    return called.names


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-7)])
def test_a_fused_norm_is_the_models_own_but_for_the_order_of_its_sum(dtype: torch.dtype, rtol: float):
    norm, x = llamas_norm(dtype), stream(dtype)
    fused = normed(x, norm.weight, norm.variance_epsilon)
    assert fused.dtype == dtype
    torch.testing.assert_close(fused, norm(x), rtol=rtol, atol=0)
    assert (fused == norm(x)).float().mean() > 0.5


def test_norms_are_fused_on_a_gpu_and_where_no_gradient_is_asked_for():
    with FakeTensorMode(), torch.device("cuda"):
        norm, x = Qwen2RMSNorm(256).requires_grad_(False), torch.empty(4, 256)
        fuse_norms(nn.Sequential(norm))
        with torch.no_grad():
            assert "rms_norm" in names_of_a_pass(norm, x)
        assert "rms_norm" not in names_of_a_pass(norm, x)


@torch.no_grad()
def test_on_a_cpu_a_norm_keeps_its_bits():
    norm, plain, x = llamas_norm(torch.bfloat16), llamas_norm(torch.bfloat16), stream(torch.bfloat16)
    fuse_norms(norm)
    assert "rms_norm" not in names_of_a_pass(norm, x)
    assert torch.equal(norm(x), plain(x))


def test_norms_of_another_kind_and_those_that_were_replaced_stay_as_they_are():
    other, replaced = Gemma2RMSNorm(8), Qwen2RMSNorm(8)
    replaced.forward = own = replaced.forward
    fuse_norms(nn.Sequential(other, replaced))
    assert "forward" not in vars(other)
    assert replaced.forward is own
