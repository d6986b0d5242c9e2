import itertools
import json
import math
from collections import Counter
from itertools import islice

import pytest
import torch
from torch import Tensor

from toolkit.harvest.documents import open_corpus
from toolkit.harvest.tokens import DOCUMENTS, TokenBatch, TokenMask, TokenStream, describe_documents


@pytest.fixture
def tokenizer(make_tokenizer):
    """It puts a BOS, id 40, before each text; id 41 pads."""
    return make_tokenizer(adds_bos=True)


@pytest.fixture
def make_stream(make_documents, tokenizer):
    """A stream over `count` documents."""

    def make(count: int = 60, files: int = 1, **options) -> TokenStream:
        options = {"row_length": 16, "batch_tokens": 64, "seed": 0} | options
        return TokenStream(make_documents(count, files), tokenizer, **options)

    return make


def rows(batches: list[TokenBatch]) -> list[tuple[int, ...]]:
    """The ids of each document."""
    return [
        tuple(ids[kept.bool()].tolist())
        for batch in batches
        for ids, kept in zip(batch.input_ids, batch.attention_mask, strict=True)
    ]


def same(one: list[TokenBatch], other: list[TokenBatch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.input_ids, b.input_ids) and torch.equal(a.attention_mask, b.attention_mask)
        for a, b in zip(one, other, strict=True)
    )


def test_every_document_is_one_row_as_the_tokenizer_reads_it(make_stream, make_documents, tokenizer):
    expected = [tuple(tokenizer(record["text"])["input_ids"]) for record in make_documents(60)]
    assert Counter(rows(list(make_stream()))) == Counter(expected)


def test_a_batch_has_as_many_documents_as_are_asked_for_of_like_length(make_stream):
    batches = list(make_stream(62, batch_rows=4))
    assert [len(batch.input_ids) for batch in batches] == [4] * 15
    lengths = sorted((batch.attention_mask.sum(dim=1).tolist() for batch in batches), reverse=True)
    assert all(min(longer) >= max(shorter) for longer, shorter in itertools.pairwise(lengths))
    assert not list(make_stream(3, batch_rows=4))


def test_rows_are_cut_to_their_length(make_stream, make_documents, tokenizer):
    expected = [tuple(tokenizer(record["text"])["input_ids"][:5]) for record in make_documents(60)]
    assert Counter(rows(list(make_stream(row_length=5)))) == Counter(expected)


def test_padding_stands_on_the_right_and_is_little(make_stream):
    batches = list(make_stream(600, batch_tokens=128))
    for batch in batches:
        assert (batch.attention_mask.diff(dim=1) <= 0).all()
        assert (batch.input_ids[batch.attention_mask == 0] == 41).all()
        assert batch.attention_mask.sum(dim=1).max() == batch.input_ids.shape[1]
    real = sum(int(batch.attention_mask.sum()) for batch in batches)
    assert real / sum(batch.input_ids.numel() for batch in batches) > 0.95


def test_no_batch_exceeds_its_tokens_and_most_come_near(make_stream):
    sizes = [batch.input_ids.numel() for batch in make_stream(600, batch_tokens=128)]
    assert max(sizes) <= 128
    assert sum(sizes) / len(sizes) > 110


def test_the_seed_decides_the_order_and_nothing_else(make_stream):
    one, again, other = (list(make_stream(seed=seed)) for seed in (1, 1, 2))
    assert same(one, again)
    assert not same(one, other)
    assert Counter(rows(one)) == Counter(rows(other))
    lengths = [batch.input_ids.shape[1] for batch in one]
    assert lengths != sorted(lengths, reverse=True)


@pytest.mark.parametrize(("files", "shards"), [(1, 2), (4, 2), (3, 2), (1, 3)])
def test_shards_share_the_documents_out(make_stream, files, shards):
    parts = [rows(list(make_stream(90, files, shard=shard, shards=shards))) for shard in range(shards)]
    assert sum(map(Counter, parts), Counter()) == Counter(rows(list(make_stream(90))))
    assert {len(part) for part in parts} == {90 // shards}


def test_no_shard_reads_what_is_held_out(tmp_path, tokenizer):
    for name, first in (("a", "w1"), ("b", "w2")):
        lines = [json.dumps({"text": f"{first} w{i // 40} w{i % 40}"}) + "\n" for i in range(90)]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    corpus = open_corpus(str(tmp_path), text_field="text", mix=(0.5, 0.5), seed=0)
    options = {"row_length": 16, "batch_tokens": 64, "seed": 0}
    held_out = rows(list(TokenStream(corpus.held_out, tokenizer, **options)))
    for shard in range(2):
        train = rows(list(TokenStream(corpus.train, tokenizer, shard=shard, shards=2, **options)))
        assert len(train) > 80
        assert not set(train) & set(held_out)


@pytest.mark.parametrize("done", [0, 1, 5, 14, "all"])
def test_a_resumed_stream_goes_on_with_the_very_next_batch(make_stream, monkeypatch, done):
    monkeypatch.setattr("toolkit.harvest.tokens.WINDOW_DOCUMENTS", 30)  # several windows, and mid-window stops
    options = {"files": 2, "shard": 1, "shards": 2}
    whole = list(make_stream(240, **options))
    done = len(whole) if done == "all" else done
    stream = make_stream(240, **options)
    batches = iter(stream)
    for _ in range(done):
        next(batches)
    state = json.loads(json.dumps(stream.state_dict()))
    resumed = make_stream(240, **options)
    resumed.load_state_dict(state)
    assert same(list(resumed), whole[done:])


def test_streams_on_the_same_documents_do_not_disturb_each_other(make_documents, tokenizer, monkeypatch):
    monkeypatch.setattr("toolkit.harvest.tokens.WINDOW_DOCUMENTS", 30)
    documents = make_documents(120)

    def stream() -> TokenStream:
        return TokenStream(documents, tokenizer, row_length=16, batch_tokens=64, seed=0)

    one = stream()
    batches = iter(one)
    part = [next(batches) for _ in range(7)]
    whole = list(stream())
    part += [next(batches) for _ in range(7)]
    resumed = stream()
    resumed.load_state_dict(one.state_dict())
    assert same(part + list(resumed), whole)


def test_no_second_bos(make_documents, tokenizer):
    documents = make_documents(20).map(lambda record: {"text": "<s> " + record["text"]})
    stream = TokenStream(documents, tokenizer, row_length=16, batch_tokens=64, seed=0)
    assert all(row.count(40) == 1 and row[0] == 40 for row in rows(list(stream)))


def test_documents_without_a_token_to_learn_from_are_left_out(make_documents, tokenizer):
    documents = make_documents(20).map(lambda record, i: {"text": "" if i % 2 else record["text"]}, with_indices=True)
    stream = TokenStream(documents, tokenizer, row_length=16, batch_tokens=64, seed=0)
    assert len(rows(list(stream))) == 10


def test_a_batch_shorter_than_a_row_is_refused(make_stream):
    with pytest.raises(ValueError, match="--forward-tokens 8 is less than --row-length 16"):
        make_stream(batch_tokens=8)


def test_what_is_cut_and_left_out_is_counted_once_also_by_shards_and_on_resuming(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("toolkit.harvest.tokens.WINDOW_DOCUMENTS", 8)
    texts = ["w1 w2", "w1 w2 w3 w4 w5 w6 w7", None, 3, *["w3 w4 w5"] * 36]
    lines = [json.dumps({"text": text}) for text in texts] + ["{"] * 40  # whole windows without a batch
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([*lines, '{"text": "w1 w2"}']))
    documents = open_corpus(str(path), text_field="text", mix=(0.5, 0.5), seed=0).whole
    options = {"row_length": 6, "batch_tokens": 32, "seed": 0}
    expected = {"whole": 38, "cut": 1, "no text": 1, "not text": 1, "malformed": 40, "beyond_row_length": 2}

    def counted(stream) -> Counter[str]:
        return sum((batch.counts for batch in stream), Counter()) + stream.uncounted

    assert counted(TokenStream(documents, tokenizer, **options)) == expected
    shards = [TokenStream(documents, tokenizer, **options, shard=shard, shards=3) for shard in range(3)]
    assert sum(map(counted, shards), Counter()) == expected
    for done in (1, 3, 5, 8):
        stream = TokenStream(documents, tokenizer, **options)
        before = sum((batch.counts for batch in islice(stream, done)), Counter())
        state = json.loads(json.dumps(stream.state_dict()))
        resumed = TokenStream(documents, tokenizer, **options)
        resumed.load_state_dict(state)
        assert before + counted(resumed) == expected


def test_counts_in_words():
    assert describe_documents(dict.fromkeys(DOCUMENTS, 0)) == ""
    counts = {"whole": 1200, "cut": 2, "beyond_row_length": 30, "malformed": 1, "no text": 4}
    assert describe_documents(counts) == "read 1,200 whole, 2 cut (30 tokens cut off); left out 1 malformed, 4 no text"


# 9 is special; the second row is padded.
BATCH = TokenBatch(
    torch.tensor([[9, 1, 2, 9, 3], [1, 9, 4, 0, 0]]),
    torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
)


def make(special: frozenset[int] = frozenset({9}), *, keep_position_0: bool = False, factor: float = 10.0) -> TokenMask:
    return TokenMask(special_ids=special, keep_position_0=keep_position_0, outlier_factor=factor)


def of_norms(*norms: list[float]) -> Tensor:
    """Activations [token, stream, 4] whose norms are these."""
    return torch.tensor(norms)[..., None] * torch.tensor([0.5, 0.5, 0.5, 0.5])


def test_position_0_special_ids_and_padding_are_left_out():
    assert make().tokens(BATCH).tolist() == [[False, True, True, False, True], [False, False, True, False, False]]


def test_each_exclusion_can_be_turned_off():
    everything = make(frozenset(), keep_position_0=True)
    assert torch.equal(everything.tokens(BATCH), BATCH.attention_mask.bool())
    assert make(keep_position_0=True).tokens(BATCH)[:, 0].tolist() == [False, True]


def test_every_token_is_counted_under_one_reason(select):
    mask = make()
    residual = torch.ones(2, 5, 2, 4)
    residual[0, 4, 1] *= 11  # an outlier in the second stream
    residual[0, 0] *= 500  # the sink at position 0, left out as such
    residual[1, 4] *= math.nan  # padding: no matter what
    selected = select(mask, BATCH, residual)
    assert selected.tolist() == [[False, True, True, False, False], [False, False, True, False, False]]
    assert +mask.counts == {"padding": 2, "position_0": 2, "special": 2, "outlier_norm": 1, "kept": 3}
    assert mask.counts.total() == BATCH.input_ids.numel()


def test_an_outlier_in_any_stream_is_dropped_and_the_factor_is_the_limit():
    keep = make().norms(of_norms([1, 2], [1, 2], [1, 2], [10, 20], [10.01, 2], [1, 20.02]))
    assert keep.tolist() == [True, True, True, True, False, False]


def test_the_yardstick_is_the_median_of_the_last_batches():
    mask = make(factor=2.0)
    for _ in range(64):
        assert mask.norms(of_norms([1.0], [1.0])).all()
    assert not mask.norms(of_norms([5.0], [5.0])).any()  # a batch of outliers does not excuse itself
    for _ in range(64):
        mask.norms(of_norms([5.0], [5.0]))
    assert mask.norms(of_norms([5.0], [5.0])).all()  # the level has changed for good


def test_infinity_turns_the_filter_off():
    assert make(factor=math.inf).norms(of_norms([1.0], [1.0], [1e30])).all()


def test_a_nan_passes_and_does_not_blind_the_filter():
    mask = make()
    keep = mask.norms(of_norms([1.0], [1.0], [math.nan], [1.0], [50.0]))
    assert keep.tolist() == [True, True, True, True, False]
    assert mask.norms(of_norms([1.0], [50.0], [1.0])).tolist() == [True, False, True]


def test_a_batch_without_ordinary_tokens_selects_none(select):
    mask = make(frozenset(range(10)))
    assert not select(mask, BATCH, torch.ones(2, 5, 2, 4)).any()
    assert mask.counts["kept"] == 0


def test_counts_and_yardstick_go_on_from_a_saved_state():
    mask, resumed = make(factor=2.0), make(factor=2.0)
    mask.norms(of_norms([1.0], [1.0], [9.0]))
    resumed.load_state_dict(mask.state_dict())
    later = of_norms([2.1], [2.1], [1.9])
    assert resumed.norms(later).tolist() == mask.norms(later).tolist() != make(factor=2.0).norms(later).tolist()
    assert resumed.counts == mask.counts


@pytest.mark.parametrize("factor", [1.0, 0.0, -3.0, math.nan])
def test_a_factor_that_would_drop_ordinary_tokens_is_refused(factor):
    with pytest.raises(ValueError, match=r"--outlier-factor .* must be above 1"):
        make(factor=factor)
