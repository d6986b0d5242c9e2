import itertools
import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from toolkit.harvest.masks import TokenMask
from toolkit.harvest.residual import ActivationStream, Prefetch
from toolkit.harvest.tokens import TokenStream


@pytest.fixture
def make_stream(tiny_pair, make_documents) -> Callable[[], ActivationStream]:
    """The tiny pair's activations on 30 documents."""

    def make() -> ActivationStream:
        tokens = TokenStream(make_documents(30), tiny_pair.tokenizer, row_length=12, batch_tokens=48, seed=0)
        mask = TokenMask(special_ids=frozenset({5}), keep_position_0=False, outlier_factor=1.2)
        return ActivationStream(tiny_pair, tokens, mask)

    return make


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_chunks_are_the_models_hidden_states_of_the_tokens_that_count(tiny_pair, folders, make_documents, make_stream):
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
        assert torch.equal(chunk, residual[mask.select(batch, residual)])
        kept += len(chunk)
    assert stream.mask.counts == mask.counts
    assert stream.mask.counts["kept"] == kept
    assert min(stream.mask.counts[reason] for reason in ("padding", "position_0", "special", "outlier_norm")) > 0


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


def test_an_error_while_reading_reaches_the_consumer(make_stream, tiny_pair):
    class Broken(ActivationStream):
        def __iter__(self):
            yield from itertools.islice(super().__iter__(), 2)
            raise RuntimeError("the disk is gone")

    stream = make_stream()
    with Prefetch(Broken(tiny_pair, stream._tokens, stream.mask)) as ahead:
        chunks = iter(ahead)
        assert equal([next(chunks), next(chunks)], list(make_stream())[:2])
        with pytest.raises(RuntimeError, match="the disk is gone"):
            next(chunks)


def test_closing_ends_the_thread_though_nobody_read(make_stream):
    ahead = Prefetch(make_stream())
    ahead.close()
    assert not ahead._thread.is_alive()
