import psutil
import pytest
import torch

from toolkit.artifacts import sha256
from toolkit.harvest import cache_shards
from toolkit.harvest.cache_shards import GrowingShard, StoredChunk, bytes_a_token, read_chunks, squared_norms, store


def grow(kind, sizes=(5, 0, 0, 7), width=8):
    generator = torch.Generator().manual_seed(0)
    shard, kept, chunks = GrowingShard(), 0, []
    for size in sizes:
        x = torch.randn(size, 2, width, generator=generator)
        kept += size
        stored = store(x, kind)
        shard.add(stored, squared_norms(x, stored), {"mask": {"counts": {"kept": kept}}, "place": kept})
        chunks.append(stored)
    return shard, chunks


@pytest.mark.parametrize("kind", ["fp32", "bf16", "int8"])
def test_what_was_written_is_read_from_any_chunk_on(tmp_path, kind):
    growing, chunks = grow(kind)
    shard = growing.write(tmp_path / "a.safetensors")
    assert (shard.file, shard.chunks, shard.tokens) == ("a.safetensors", 4, 12)
    assert shard.nbytes == (tmp_path / "a.safetensors").stat().st_size
    assert shard.sha256 == sha256(tmp_path / "a.safetensors")
    assert shard.end["place"] == 12
    assert (shard.lost > 0) == (kind != "fp32")
    for first in range(5):
        read = list(read_chunks(tmp_path / "a.safetensors", range(first, 4)))
        assert [counts["kept"] for _, counts in read] == [5, 5, 5, 12][first:]
        for (chunk, _), written in zip(read, chunks[first:], strict=True):
            assert torch.equal(chunk.restore(), written.restore())
            assert chunk.values.dtype == written.values.dtype


def test_the_same_chunks_give_the_same_file(tmp_path):
    one, other = (grow("int8")[0].write(tmp_path / name) for name in ("1.safetensors", "2.safetensors"))
    assert one.sha256 == other.sha256


def test_a_shard_is_full_by_its_bytes(monkeypatch):
    monkeypatch.setattr(cache_shards, "SHARD_BYTES", 12 * 2 * 8 * 2)
    assert grow("bf16", (5, 7))[0].full
    assert not grow("bf16", (5, 6))[0].full
    assert not grow("int8", (5, 7))[0].full


def test_a_shard_is_full_when_a_kill_would_lose_more_than_a_minute():
    shard, _ = grow("bf16")
    assert not shard.full
    shard.begun -= 61
    assert shard.full


def test_a_write_that_fails_leaves_nothing(tmp_path, small_disk):
    growing, _ = grow("fp32", (500,))
    with small_disk(), pytest.raises(Exception, match="too large"):
        growing.write(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_reading_takes_the_memory_of_a_chunk(tmp_path):
    growing, _ = grow("fp32", (1024,) * 16, width=1024)
    size = growing.write(tmp_path / "a.safetensors").nbytes
    del growing
    before = private_bytes()
    largest = 0
    for chunk, _ in read_chunks(tmp_path / "a.safetensors", range(16)):
        chunk.restore().sum()
        largest = max(largest, private_bytes() - before)
    assert size > 128e6
    assert largest < size / 8


def private_bytes():
    memory = psutil.Process().memory_info()
    return memory.rss - memory.shared


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
