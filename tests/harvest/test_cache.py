import itertools
import json
import shutil

import pytest
import torch

from toolkit.artifacts import DiskFullError
from toolkit.harvest import cache_shards
from toolkit.harvest.activations import ActivationStream, Prefetch
from toolkit.harvest.cache import CachedActivations, CacheFolder
from toolkit.harvest.cache_shards import store
from toolkit.harvest.tokens import TokenMask, TokenStream

CPU = torch.device("cpu")
KINDS = pytest.mark.parametrize("kind", ["fp32", "bf16", "int8"])


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Shards of a chunk or two, of int8 of more."""
    monkeypatch.setattr(cache_shards, "SHARD_BYTES", 3500)


@pytest.fixture
def live(here_pair, make_documents):
    """The tiny pair's activations on 60 documents, on the CPU, where a cache holds them."""

    def make(pair=here_pair):
        tokens = TokenStream(make_documents(60), pair.tokenizer, row_length=12, batch_tokens=48, seed=0)
        mask = TokenMask(special_ids=frozenset({5}), keep_position_0=False, outlier_factor=1.2)
        return ActivationStream(pair, tokens, mask)

    return make


@pytest.fixture
def cached(live, tmp_path):
    """The same by way of a cache."""

    def make(kind="fp32", folder="cache", **changes):
        return CachedActivations(live(**changes), CacheFolder(tmp_path / folder, {"type": kind}), CPU)

    return make


class Untouchable(ActivationStream):
    """Fails where somebody reads from it."""

    def __iter__(self):
        raise AssertionError("the models were read")
        yield


def equal(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@KINDS
def test_later_runs_get_what_the_first_got_without_the_models(cached, live, here_pair, kind):
    truth = [store(chunk, kind).restore() for chunk in live()]
    first = cached(kind)
    assert equal(list(first), truth)
    assert len(first.folder.shards) > 2
    again = cached(kind)
    again._live = Untouchable(here_pair, again._live._tokens, again._live.mask)
    assert equal(list(itertools.islice(again, len(truth))), truth)
    assert again.state_dict() == first.state_dict()


def test_counts_are_those_of_the_live_stream_after_every_chunk(cached, live):
    list(cached())
    stream, again = live(), cached()
    for _ in zip(stream, again, strict=True):
        assert again.state_dict()["mask"]["counts"] == stream.state_dict()["mask"]["counts"]
    assert again.state_dict()["mask"]["counts"]["outlier_norm"] > 0


@pytest.mark.parametrize("done", [0, 1, 2, 5, "all"])
def test_a_longer_run_goes_on_where_a_shorter_one_ended(cached, live, done):
    truth = list(live())
    done = len(truth) if done == "all" else done
    assert equal(list(itertools.islice(cached(), done)), truth[:done])
    assert cached().folder.chunks >= done
    again = cached()
    assert equal(list(again), truth)
    assert cached().folder.tokens == sum(map(len, truth))
    assert again.state_dict()["chunk"] == len(truth)


@KINDS
def test_a_kill_at_any_chunk_loses_nothing_that_was_written(cached, live, tmp_path, kind):
    truth = [store(chunk, kind).restore() for chunk in live()]
    for number, _ in enumerate(cached(kind)):
        shutil.copytree(tmp_path / "cache", tmp_path / f"killed{number}")
        (tmp_path / f"killed{number}" / "shard-000099.tmp").write_bytes(b"half of it")
    for number in range(len(truth)):
        killed = cached(kind, f"killed{number}")
        assert killed.folder.chunks <= number + 1
        assert equal(list(killed), truth)
        assert not list((tmp_path / f"killed{number}").glob("*.tmp"))


@pytest.mark.parametrize("stored", ["all", "some", "none"])
@pytest.mark.parametrize("done", [0, 1, 4, 7])
def test_a_resumed_reader_goes_on_with_the_next_chunk(cached, live, stored, done):
    truth = list(live())
    first = cached("fp32", "first")
    list(itertools.islice(first, done))
    state = json.loads(json.dumps(first.state_dict()))
    list(itertools.islice(cached(), {"all": len(truth), "some": 3, "none": 0}[stored]))
    resumed = cached()
    resumed.load_state_dict(state)
    with Prefetch(resumed) as ahead:
        assert equal(list(ahead), truth[done:])
    assert equal(list(cached()), truth)


def test_reading_ahead_stores_all_that_was_read_when_it_is_closed(cached, live):
    with Prefetch(cached()) as ahead:
        next(iter(ahead))
    folder = cached().folder
    assert 1 <= folder.chunks <= 5
    assert equal(list(cached()), list(live()))


def test_a_disk_without_room_for_what_was_read_last_is_told(cached, monkeypatch, small_disk):
    monkeypatch.setattr(cache_shards, "SHARD_BYTES", 10**9)
    ahead = Prefetch(cached())
    next(iter(ahead))
    with small_disk(), pytest.raises(DiskFullError, match="0 tokens are in the cache: free some space"):
        ahead.close()
    assert not ahead._thread.is_alive()


def test_two_runs_read_at_once_and_one_writes(cached, live):
    truth = list(live())
    list(itertools.islice(cached(), 3))
    stored = cached().folder.chunks
    one, other = iter(cached()), iter(cached())
    for chunk in truth[:stored]:
        assert torch.equal(next(one), chunk)
        assert torch.equal(next(other), chunk)
    assert torch.equal(next(one), truth[stored])
    with pytest.raises(ValueError, match=r"another process writes to the cache .*writing.lock"):
        next(other)
    assert equal(list(one), truth[stored + 1 :])


def test_a_writer_takes_what_another_has_added_since(cached, live):
    truth = list(live())
    late = cached()
    list(cached())
    assert equal(list(late), truth)
    assert sum(shard.chunks for shard in late.folder.shards) == len(truth)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_one_shard_is_harvested_again(cached, live, tmp_path, number):
    list(cached())
    path = tmp_path / "cache" / f"shard-{number:06d}.safetensors"
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.raises(ValueError, match=f"shard-{number:06d}.safetensors is not as it was written"):
        list(cached())
    mended = cached()
    mended.repair(number)
    assert path.read_bytes() == before
    assert equal(list(mended), list(live()))


def test_a_shard_that_comes_out_otherwise_is_told(cached, tmp_path, folders):
    from toolkit.models.pair import ModelPair

    list(cached())
    before = (tmp_path / "cache" / "shard-000001.safetensors").read_bytes()
    swapped = ModelPair.from_pretrained(base=str(folders[1]), distilled=str(folders[0]), layers=[2], where="cpu")
    with pytest.raises(ValueError, match=r"shard-000001.safetensors harvested again has other bits .* anew"):
        cached(pair=swapped).repair(1)
    assert (tmp_path / "cache" / "shard-000001.safetensors").read_bytes() == before


@KINDS
def test_nothing_that_is_no_number_is_stored(cached, live, kind, monkeypatch):
    truth = [store(chunk, kind).restore() for chunk in live()]
    broken = cached(kind)
    harvest = iter(list(live()))
    chunks = [*itertools.islice(harvest, 3), next(harvest) * float("nan")]
    monkeypatch.setattr(type(broken._live), "__iter__", lambda _: iter(chunks))
    handed_out = []
    with pytest.raises(ValueError, match=r"the models return NaN or infinity after [0-9]+ stored tokens"):
        handed_out.extend(broken)
    monkeypatch.undo()
    assert cached(kind).folder.chunks == 3
    assert all(torch.equal(a, b) for a, b in zip(handed_out, truth, strict=False))


def test_what_is_stored_can_be_skipped(cached, live):
    truth = list(live())
    empty = cached()
    empty.skip_stored()
    assert equal(list(itertools.islice(empty, 3)), truth[:3])
    again = cached()
    stored = again.folder.chunks
    again.skip_stored()
    assert equal(list(again), truth[stored:])
    assert equal(list(cached()), truth)


def test_time_is_kept_by_stage(cached):
    first, again = cached(), cached()
    list(first)
    assert first.stopwatch.seconds.keys() >= {"reading activations", "writing the cache"}
    list(again)
    assert "reading the cache" in again.stopwatch.seconds
