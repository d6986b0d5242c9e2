import pytest
import torch

from toolkit.harvest.cache_types import StoredChunk, bytes_a_token, squared_norms, store

X = torch.randn(50, 2, 32, generator=torch.Generator().manual_seed(0))


def test_types_restore_what_they_can():
    assert torch.equal(store(X, "fp32").restore(), X)
    assert torch.equal(store(X, "bf16").restore(), X.bfloat16())
    restored = store(X, "int8").restore()
    step = X.abs().amax(dim=2, keepdim=True) / 127
    assert ((restored - X).abs() <= 0.5001 * step).all()
    torch.testing.assert_close(restored.abs().amax(dim=2), X.abs().amax(dim=2))


def test_half_precision_loses_nothing_in_its_own_type():
    half = X.bfloat16()
    assert squared_norms(half, store(half, "bf16"))[0] == 0


def test_int8_serves_each_vector_by_its_own_scale_and_zeros_as_zeros():
    x = X * torch.tensor([1e-6, 1e6])[:, None]
    x[3, 0] = 0
    restored = store(x, "int8").restore()
    assert torch.equal(restored[3, 0], torch.zeros(32))
    error = (restored - x).norm(dim=2) / x.norm(dim=2)
    assert error[torch.arange(50) != 3].max() < 0.02


@pytest.mark.parametrize("kind", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_not_hidden(kind, value):
    x = X.clone()
    x[7, 1, 5] = value
    stored = store(x, kind)
    assert not stored.restore()[7, 1, 5].isfinite()
    assert stored.restore()[torch.arange(50) != 7].isfinite().all()
    assert not all(torch.tensor(squared_norms(x, stored)).isfinite())


def test_squared_norms_are_sums_over_all():
    stored = StoredChunk(X + 0.5)
    lost, whole = squared_norms(X, stored)
    assert lost == pytest.approx(X.numel() * 0.25, rel=1e-5)
    assert whole == pytest.approx(X.square().sum().item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["fp32", "bf16", "int8"])
def test_bytes_a_token_are_those_of_the_tensors(kind):
    stored = store(X, kind)
    assert stored.nbytes == 50 * bytes_a_token(kind, 2, 32)
    assert stored.to(torch.device("cpu")).nbytes == stored.nbytes
