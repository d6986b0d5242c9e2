import itertools
import json
import re
import threading
import time
from collections.abc import Callable

import pretended_device
import pytest
import torch
from host_waits import HostWaits
from torch import Tensor
from transformers import AutoModelForCausalLM

from toolkit.harvest.activations import ActivationStream, Prefetch, read_batches
from toolkit.harvest.tokens import TokenMask, TokenStream
from toolkit.models.pair import ModelPair
from toolkit.models.places.ndif.transport import RemoteJobError
from toolkit.models.places.place import Traffic
from toolkit.models.sources import find_sources
from toolkit.models.where import Where


@pytest.fixture
def make_stream(here_pair, make_documents) -> Callable[[], ActivationStream]:
    """The tiny pair's activations on 30 documents, on the CPU."""

    def make() -> ActivationStream:
        tokens = TokenStream(make_documents(30), here_pair.tokenizer, row_length=12, batch_tokens=48, seed=0)
        mask = TokenMask(special_ids=frozenset({5}), keep_position_0=False, outlier_factor=1.2)
        return ActivationStream(here_pair, tokens, mask)

    return make


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(one, other, strict=True))


def test_chunks_are_the_models_hidden_states_of_the_tokens_that_count(
    tiny_pair, folders, make_documents, make_stream, select
):
    models = [AutoModelForCausalLM.from_pretrained(folder).eval() for folder in folders]
    tokens = TokenStream(make_documents(30), tiny_pair.tokenizer, row_length=12, batch_tokens=48, seed=0)
    mask = TokenMask(special_ids=frozenset({5}), keep_position_0=False, outlier_factor=1.2)
    stream = make_stream()
    kept = 0
    for batch, chunk in zip(tokens, stream, strict=True):
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        with torch.no_grad():
            states = [model(**inputs, output_hidden_states=True).hidden_states[2] for model in models]
        residual = torch.stack(states, dim=2)
        assert torch.equal(chunk, residual[select(mask, batch, residual)])
        kept += len(chunk)
    assert stream.mask.counts == mask.counts
    assert stream.mask.counts["kept"] == kept
    assert min(stream.mask.counts[reason] for reason in ("padding", "position_0", "special", "outlier_norm")) > 0


def test_documents_of_the_last_windows_are_counted_though_no_batch_comes(tiny_pair, make_documents, monkeypatch):
    monkeypatch.setattr("toolkit.harvest.tokens.WINDOW_DOCUMENTS", 4)
    documents = make_documents(12).map(lambda record, i: {"text": record["text"] if i < 7 else ""}, with_indices=True)
    tokens = TokenStream(documents, tiny_pair.tokenizer, row_length=64, batch_tokens=256, seed=0)
    mask = TokenMask(special_ids=frozenset(), keep_position_0=False, outlier_factor=10.0)
    list(ActivationStream(tiny_pair, tokens, mask))
    assert (mask.counts["whole"], mask.counts["no text"]) == (7, 5)


def test_time_is_kept_by_stage(make_stream):
    stream = make_stream()
    list(stream)
    assert stream.stopwatch.seconds.keys() == {"tokenizing", "reading activations", "masks"}


def test_reading_ahead_changes_nothing(make_stream):
    plain = make_stream()
    with Prefetch(make_stream()) as ahead:
        assert equal(list(ahead), list(plain))
        assert ahead.state_dict() == plain.state_dict()


@pytest.mark.parametrize("done", [0, 3, "all"])
@pytest.mark.parametrize("reader", [Prefetch, lambda stream: stream])
def test_a_resumed_stream_serves_what_was_not_handed_out(make_stream, reader, done):
    whole = list(make_stream())
    done = len(whole) + 1 if done == "all" else done
    stream = reader(make_stream())
    assert equal(list(itertools.islice(stream, done)), whole[:done])
    state = json.loads(json.dumps(stream.state_dict()))
    if isinstance(stream, Prefetch):
        stream.close()
    resumed, uninterrupted = make_stream(), make_stream()
    resumed.load_state_dict(state)
    with Prefetch(resumed) as ahead:
        assert equal(list(ahead), whole[done:])
        list(uninterrupted)
        assert ahead.state_dict() == uninterrupted.state_dict()  # counts and medians too


def test_an_error_while_reading_reaches_the_consumer(make_stream, here_pair):
    class Broken(ActivationStream):
        def __iter__(self):
            yield from itertools.islice(super().__iter__(), 2)
            raise RuntimeError("the disk is gone")

    stream = make_stream()
    with Prefetch(Broken(here_pair, stream._tokens, stream.mask)) as ahead:
        chunks = iter(ahead)
        assert equal([next(chunks), next(chunks)], list(make_stream())[:2])
        with pytest.raises(RuntimeError, match="the disk is gone"):
            next(chunks)


def test_closing_ends_the_thread_though_nobody_read(make_stream):
    ahead = Prefetch(make_stream())
    ahead.close()
    assert not ahead._thread.is_alive()


@pytest.fixture
def make_remote_stream(ndif, folders, make_documents) -> Callable[..., ActivationStream]:
    """The same activations, from models on NDIF."""

    def make(**settings: object) -> ActivationStream:
        options = {"wire": "fp32", "deadline": 2.0, "jobs": 6} | settings
        pair = ModelPair.from_pretrained(
            base=str(folders[0]), distilled=str(folders[1]), layers=[2], where=Where(remote=True, **options)
        )
        tokens = TokenStream(make_documents(30), pair.tokenizer, row_length=12, batch_tokens=48, seed=0)
        mask = TokenMask(special_ids=frozenset({5}), keep_position_0=False, outlier_factor=1.2)
        return ActivationStream(pair, tokens, mask)

    return make


FAULTS = ["late", "", "500", "late", "drop", "truncated", "hang", "late"]


@pytest.mark.parametrize("faults", [[], FAULTS])
def test_jobs_give_the_same_chunks_once_and_in_order(make_stream, make_remote_stream, ndif, faults):
    remote, local = make_remote_stream(deadline=2.0), make_stream()
    ndif.faults.extend(faults)
    assert equal(list(remote), list(local))
    assert not ndif.faults
    assert remote.state_dict() == local.state_dict()


def test_batches_under_way_do_not_count_as_read(make_stream, make_remote_stream, ndif):
    remote, local = make_remote_stream(jobs=8), make_stream()
    whole = list(make_stream())
    opened = len(ndif.payloads)
    chunks, expected = iter(remote), iter(local)
    for _ in range(2):
        assert torch.equal(next(chunks).cpu(), next(expected))
        assert remote.state_dict() == local.state_dict()
    assert len(ndif.payloads) - opened > 2 * 2
    state = json.loads(json.dumps(remote.state_dict()))
    resumed = make_remote_stream(jobs=2)
    resumed.load_state_dict(state)
    assert equal(list(resumed), whole[2:])
    assert equal(list(chunks), whole[2:])


def test_a_job_that_fails_for_good_is_an_error_in_its_place_and_names_its_batch(make_stream, make_remote_stream, ndif):
    remote, whole = make_remote_stream(attempts=1, jobs=8), list(make_stream())
    ndif.faults.extend([""] * 4 + ["evicted"])
    chunks = []
    with Prefetch(remote) as ahead:
        with pytest.raises(RemoteJobError, match=r"read up to batch \d+ of window 0: .* failed 1 times") as failed:
            chunks.extend(ahead)  # it takes in what came before the error
        state = ahead.state_dict()
    number = int(re.search(r"batch (\d+)", str(failed.value))[1])
    assert equal(chunks, whole[:number])
    resumed = make_remote_stream()
    resumed.load_state_dict(state)
    assert equal(list(resumed), whole[number:])


def test_closing_does_not_wait_for_the_deadline(make_remote_stream, ndif):
    remote = make_remote_stream(deadline=60.0)
    opened, before = len(ndif.payloads), set(threading.enumerate())
    ndif.faults.extend(["hang"] * 6)
    ahead = Prefetch(remote)
    while len(ndif.payloads) < opened + 6:
        time.sleep(0.01)
    started = time.perf_counter()
    ahead.close()
    assert time.perf_counter() - started < 2
    assert not ahead._thread.is_alive()
    for job in set(threading.enumerate()) - before:
        job.join(timeout=10)
        assert not job.is_alive(), "a job that nobody waits for would be sent again"


@pytest.mark.parametrize(("wire", "largest"), [("bf16", 1e-5), ("int8", 1e-3)])
def test_narrow_wires_tell_their_error(make_stream, make_remote_stream, wire, largest):
    remote = make_remote_stream(wire=wire)
    ids, mask = torch.arange(24).view(2, 12), torch.ones(2, 12, dtype=torch.long)
    exact = make_stream()._models.selected(ids, mask, mask.bool())
    read = remote._models.selected(ids, mask, mask.bool()).float().cpu()
    traffic: Traffic = remote._models.base.place.traffic + remote._models.distilled.place.traffic
    assert traffic.wire_error == pytest.approx(float((read - exact).square().sum() / exact.square().sum()), rel=1e-3)
    assert 0 < traffic.wire_error < largest


@pytest.mark.parametrize("block", [1, 100, 10**6])
def test_models_by_turns_give_the_same_chunks_and_places(make_stream, folders, make_documents, monkeypatch, block):
    monkeypatch.setattr("toolkit.models.places.one_at_a_time.BLOCK_TOKENS", block)
    sources = find_sources({"base": str(folders[0]), "distilled": str(folders[1])})
    pair = ModelPair.open(sources, layers=[2], where=Where(device_map="cpu", sequential=True), depth=2)
    tokens = TokenStream(make_documents(30), pair.tokenizer, row_length=12, batch_tokens=48, seed=0)
    mask = TokenMask(special_ids=frozenset({5}), keep_position_0=False, outlier_factor=1.2)
    by_turns, together = ActivationStream(pair, tokens, mask), make_stream()
    for ours, theirs in zip(by_turns, together, strict=True):
        assert torch.equal(ours, theirs)
        assert by_turns.state_dict() == together.state_dict()
    assert by_turns.state_dict() == together.state_dict()


def test_a_batch_waits_for_a_gpu_once_beside_the_looks_of_nnsight_and_transformers_at_its_mask(
    folders, here_pair, make_documents
):
    with pretended_device.present():
        away = ModelPair.from_pretrained(base=folders[0], distilled=folders[1], layers=[2])

    def read(pair: ModelPair) -> list[Tensor]:
        tokens = TokenStream(make_documents(30), here_pair.tokenizer, row_length=12, batch_tokens=48, seed=0)
        mask = TokenMask(special_ids=frozenset({5}), keep_position_0=False, outlier_factor=1.2)
        return [read.activations for read in read_batches(pair, tokens, mask)]

    waits = HostWaits(pretended_device.AWAY)
    with waits:
        there = read(away)
    # Norms come to the CPU; before a model's first layer nnsight and transformers look whether its mask hides a token.
    assert waits.counts == {"_to_copy": len(there), "_local_scalar_dense": 2 * 2 * len(there)}
    for one, other in zip(there, read(here_pair), strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-3, atol=1e-4)
