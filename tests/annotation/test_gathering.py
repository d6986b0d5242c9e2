"""Passages of latents that fire on known words of made-up documents, whose parts have words of their own."""

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
import torch

from toolkit.adapters import modes
from toolkit.annotation.evidence import Passage
from toolkit.annotation.gathering import Gathered, gather
from toolkit.annotation.stretches import are_for_testing
from toolkit.annotation.subjects import Subjects, adapter_subjects
from toolkit.harvest.harvesting import open_mask
from toolkit.harvest.tokens import TokenBatch
from toolkit.latents.categories import Category
from toolkit.latents.coded_batches import CodedBatch, adapter_batches, first_tokens

WORDS = 300
QUESTION, THINKING, ANSWER = range(100), range(100, 220), range(220, 300)
SPECIAL = ("<s>", "</s>", "<think>", "</think>")
OPENING, CLOSING = WORDS + 2, WORDS + 3
ON = {0: 105, 1: 110, 2: 225, 3: 10, 4: 115}
"""The word on which each column's latent fires; the fifth fires on every word of the answer too."""
NEVER, RARELY, EVERYWHERE = 5, 6, 7


@pytest.fixture(scope="module")
def tokenizer(make_tokenizer):
    return make_tokenizer(SPECIAL, [f"w{i}" for i in range(WORDS)])


def draw(words: range, n: int, chance: torch.Generator) -> list[int]:
    return [words[i] for i in torch.randperm(len(words), generator=chance)[:n].tolist()]


def documents(n: int, seed: int = 0) -> list[list[int]]:
    """No word comes twice in a document: passages of one that share a word overlap."""
    chance = torch.Generator().manual_seed(seed)
    return [
        [*draw(QUESTION, 30, chance), OPENING, *draw(THINKING, 80, chance), CLOSING, *draw(ANSWER, 40, chance)]
        for _ in range(n)
    ]


def codes_of(rows: torch.Tensor, seed: int) -> torch.Tensor:
    """[row, position, column]; a latent's code at its word is any number up to 10."""
    chance = torch.Generator().manual_seed(seed)
    codes = torch.zeros(*rows.shape, 8)
    for column, word in ON.items():
        codes[..., column] = (rows == word) * (10 * torch.rand(rows.shape, generator=chance) + 1e-3)
    codes[..., 4] += (rows >= ANSWER.start) & (rows < ANSWER.stop)
    codes[..., RARELY] = (rows == ON[0]) & (torch.rand(rows.shape, generator=chance) < 0.01)
    codes[..., EVERYWHERE] = 1.0
    return codes


def batches(rows: list[list[int]], size: int = 50) -> Iterator[CodedBatch]:
    for first in range(0, len(rows), size):
        ids = torch.tensor(rows[first : first + size])
        mask = torch.ones_like(ids)
        selected = mask.bool()
        selected[:, 0] = False
        codes = codes_of(ids, seed=first)[selected]
        yield CodedBatch(TokenBatch(ids, mask), selected, torch.zeros(len(codes), 1, 1), codes)


def subjects(*columns: int, neighbours: tuple[tuple[int, ...], ...] | None = None) -> Subjects:
    near = torch.tensor(neighbours or [[1, 3]] * len(columns))
    return Subjects(
        names=columns,
        columns=torch.tensor(columns),
        neighbours=near,
        likeness=torch.full(near.shape, 0.5),
        promoted=((("w1", 2.0),),) * len(columns),
        suppressed=((("w2", -2.0),),) * len(columns),
    )


ALL = (0, 2, 4, NEVER, RARELY, EVERYWHERE)


@pytest.fixture(scope="module")
def found(tokenizer) -> Gathered:
    return gather(batches(documents(700)), subjects(*ALL), tokenizer)


def of_test(evidence) -> list[Passage]:
    return [*evidence.firing, *evidence.near, *evidence.far]


def words(passage: Passage) -> set[str]:
    return {token.strip() for token in passage.tokens}


def parts(passages: Iterable[Passage]) -> Counter[tuple[bool, ...]]:
    """Which parts of its document each passage has words of."""
    in_part = [{f"w{i}" for i in part} for part in (QUESTION, THINKING, ANSWER)]
    return Counter(tuple(bool(words(each) & part) for part in in_part) for each in passages)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_documents_that_explain_a_latent_test_none(tokenizer, seed):
    for evidence in gather(batches(documents(300)), subjects(0, 2, 4), tokenizer, seed=seed).evidence.values():
        explaining = {each.document for each in evidence.explaining}
        assert len(explaining) > 20
        assert explaining.isdisjoint(each.document for each in of_test(evidence))


def test_all_latents_share_the_halves(found):
    explaining = {each.document for evidence in found.evidence.values() for each in evidence.explaining}
    assert explaining.isdisjoint(each.document for evidence in found.evidence.values() for each in of_test(evidence))


def test_copies_of_a_document_are_of_one_half_whatever_their_padding():
    rows = documents(200)
    ids = torch.tensor(rows)
    alone = are_for_testing(TokenBatch(ids, torch.ones_like(ids)), seed=3)
    assert 70 < int(alone.sum()) < 130
    padded = torch.cat([ids, torch.zeros(200, 9, dtype=torch.long)], dim=1)
    again = are_for_testing(TokenBatch(padded, torch.cat([torch.ones_like(ids), padded[:, :9] * 0], dim=1)), seed=3)
    assert torch.equal(alone, again)
    assert not torch.equal(alone, are_for_testing(TokenBatch(ids, torch.ones_like(ids)), seed=4))


def test_passages_of_one_document_do_not_overlap(found):
    for evidence in found.evidence.values():
        for passages in (evidence.explaining, of_test(evidence)):
            tokens = Counter((each.document, token) for each in passages for token in each.tokens)
            assert set(tokens.values()) == {1}


def test_a_latent_fires_in_its_passages_and_in_no_negative(found):
    evidence = found.evidence[0]
    for passage in (*evidence.explaining, *evidence.firing):
        (fires,) = [token.strip() for token, code in zip(passage.tokens, passage.codes, strict=True) if code]
        assert fires == f"w{ON[0]}"
    for passage in (*evidence.near, *evidence.far):
        assert f"w{ON[0]}" not in words(passage)
        assert len(passage.codes) == len(passage.tokens)
        assert passage.largest == 0


def test_neighbours_fire_in_near_misses_and_in_no_other_negative(found):
    evidence = found.evidence[0]
    assert (len(evidence.near), len(evidence.far)) == (25, 25)
    neighbours = {f"w{ON[1]}", f"w{ON[3]}"}
    assert all(words(each) & neighbours for each in evidence.near)
    assert not any(words(each) & neighbours for each in evidence.far)


def test_negatives_are_of_the_same_regions_as_positives(found):
    for latent in (0, 2):
        evidence = found.evidence[latent]
        assert parts(evidence.firing) == parts([*evidence.near, *evidence.far])
    assert parts(found.evidence[0].firing) != parts(found.evidence[2].firing)


def test_every_tenth_of_the_firings_has_its_passages(tokenizer):
    rows = documents(150)
    found = gather(batches(rows), subjects(0), tokenizer).evidence[0]
    largest = {True: [], False: []}
    for batch in batches(rows):
        codes = codes_of(batch.batch.input_ids, seed=sum(map(len, largest.values())))[..., 0].amax(dim=1)
        for tests, code in zip(are_for_testing(batch.batch, 0).tolist(), codes.tolist(), strict=True):
            largest[tests].append(code)
    for tests, passages, each in ((False, found.explaining, 4), (True, found.firing, 5)):
        fired = sorted(code for code in largest[tests] if code)
        assert 40 < len(fired) <= 100  # so that all were in the sample
        cuts = [fired[len(fired) * tenth // 10] for tenth in range(10)]
        tenths = Counter(sum(passage.largest >= cut - 1e-6 for cut in cuts) for passage in passages)
        expected = {
            tenth: min(each, len(fired) * tenth // 10 - len(fired) * (tenth - 1) // 10) for tenth in range(1, 11)
        }
        assert tenths == expected
        assert [passage.largest for passage in passages] == sorted((p.largest for p in passages), reverse=True)


def test_a_latent_with_too_few_passages_is_named_with_the_reason(found):
    assert set(found.evidence) == {0, 2, 4}
    assert "latent 5 fires in 0 passages" in found.unscored[NEVER]
    assert "10 of each are needed" in found.unscored[RARELY]
    assert "latent 7 is silent in 0 of" in found.unscored[EVERYWHERE]
    assert found.documents == 700
    assert found.tokens == 700 * 151


def test_frequencies_lifts_and_regions_are_those_of_the_documents_that_explain(tokenizer):
    rows = documents(300)
    category = Category(name="word", words=("w105",), tokens=("w105",), token_ids=(ON[0],))
    unread = Category(name="unread", words=("x",), tokens=(), token_ids=())
    evidence = gather(batches(rows), subjects(0, 4), tokenizer, categories=[category, unread]).evidence
    fired, tokens = torch.zeros(8), 0
    mass = torch.zeros(3)
    for batch in batches(rows):
        kept = batch.selected & ~are_for_testing(batch.batch, 0)[:, None]
        codes = batch.codes[kept[batch.selected]]
        ids = batch.batch.input_ids[kept]
        fired, tokens = fired + (codes > 0).sum(dim=0), tokens + len(codes)
        for part, ids_of in enumerate((QUESTION, THINKING, ANSWER)):
            mass[part] += codes[(ids >= ids_of.start) & (ids < ids_of.stop), 4].sum()
    assert evidence[0].frequency == pytest.approx(float(fired[0] / tokens))
    assert evidence[0].lifts == {"word": pytest.approx(float(tokens / fired[0]), rel=1e-5)}
    assert evidence[4].regions == pytest.approx(
        dict(zip(("question", "thinking", "answer"), (mass / mass.sum()).tolist(), strict=True)), rel=1e-4
    )
    assert evidence[0].promoted == (("w1", 2.0),)


def test_the_seed_decides_everything_and_other_latents_nothing(tokenizer, found):
    rows = documents(700)
    alone = gather(batches(rows), subjects(2), tokenizer)
    assert alone.evidence[2] == found.evidence[2]
    assert gather(batches(rows), subjects(2), tokenizer, seed=1).evidence[2] != found.evidence[2]


def test_no_batch_is_held_after_it_was_read(tokenizer):
    read: list[weakref.ref[torch.Tensor]] = []

    def watched() -> Iterator[CodedBatch]:
        for batch in batches(documents(300)):
            assert all(codes() is None for codes in read[:-1])
            read.append(weakref.ref(batch.codes))
            yield batch
            del batch

    gather(watched(), subjects(0), tokenizer)
    assert len(read) == 6


def test_documents_without_marks_have_no_regions(tokenizer):
    rows = [[token for token in row if token != CLOSING] for row in documents(300)]
    evidence = gather(batches(rows), subjects(0), tokenizer).evidence[0]
    assert evidence.regions is None
    assert len(evidence.near) + len(evidence.far) == 50


def test_tokens_that_do_not_count_are_shown_and_fire_nothing(tokenizer):
    word = f"w{ON[3]}"
    rows = [[ON[3], *row[1:]] for row in documents(300)]  # position 0 does not count
    evidence = gather(batches(rows), subjects(3), tokenizer).evidence[3]
    first = [each for each in of_test(evidence) if each.tokens[0] == word]
    assert len(first) > 10
    assert not any(each.codes[0] for each in first)


def test_latents_of_an_adapter_have_evidence(adapted, adapter_run):
    layers, latents = range(1, 3), [(2, 7), (1, 16)]
    mode = modes.adapter(adapted.n_layers)
    coded = list(first_tokens(adapter_batches(adapted, layers, mode, adapter_run.tokens(), open_mask()), 6000))
    chosen = adapter_subjects(adapted, layers, latents)
    found = gather(coded, chosen, adapted.tokenizer)
    assert chosen.names == ("2/7", "1/16")
    for name, column in (("2/7", 24 + 7), ("1/16", 16)):
        assert 0 < found.evidence[name].largest <= max(float(each.codes[:, column].detach().max()) for each in coded)
        assert len(found.evidence[name].promoted) == 10


def test_bfloat16_codes_are_read_as_they_are(tokenizer):
    coded = [replace(batch, codes=batch.codes.bfloat16()) for batch in batches(documents(300))]
    assert len(gather(coded, subjects(0), tokenizer).evidence[0].explaining) == 40
