"""Scores of explanations by annotators whose answers are known."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from toolkit.annotation.evidence import Evidence, Name, Passage
from toolkit.annotation.labels import Label, Unscored
from toolkit.annotation.scoring import TOGETHER, Scores, score

Marked = tuple[Passage, frozenset[int]]
N_LATENTS = 12


def passage(document: int, word: str, fires: bool) -> Passage:
    """Eight tokens; where it fires, `word` has a code of 1 and the token after it one of .2."""
    tokens = tuple(f" {word if place == document % 7 else f't{place}'}" for place in range(8))
    codes = [0.0] * 8
    if fires:
        codes[document % 7], codes[document % 7 + 1] = 1.0, 0.2
    return Passage(document=document, tokens=tokens, codes=tuple(codes))


def evidence(latent: Name, n: int = 50) -> Evidence:
    """A latent that fires on its own word; near misses have a word that begins alike."""
    return Evidence(
        latent=latent,
        explaining=(),
        firing=tuple(passage(i, f"x{latent}", True) for i in range(n)),
        near=tuple(passage(n + i, f"x{latent}y", False) for i in range(n // 2)),
        far=tuple(passage(2 * n + i, f"z{latent}", False) for i in range(n // 2)),
        largest=1.0,
        frequency=0.1,
    )


EVIDENCE = {latent: evidence(latent) for latent in range(N_LATENTS)}
LABELS = {latent: Label(category="domain", explanation=f"x{latent}") for latent in EVIDENCE}


def has_word(explanation: str, passage: Passage) -> bool:
    return f" {explanation}" in passage.tokens


def marks_word(explanation: str, marked: Marked) -> bool:
    return f" {explanation}" in {marked[0].tokens[index] for index in marked[1]}


@dataclass
class Scripted:
    """Answers by a rule for each test; keeps what it was asked."""

    sees: Callable[[str, Passage], bool] = has_word
    believes: Callable[[str, Marked], bool] = marks_word
    fails: Callable[[int], bool] = lambda _: False
    """Whether the question of this number has no usable reply."""
    name: str = "scripted"
    asked: list[tuple[str, tuple[Passage, ...]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def explain(self, evidence: Evidence) -> Label | Unscored:
        raise AssertionError("scoring explains nothing")

    def detect(self, explanation: str, passages: Sequence[Passage]) -> list[bool] | Unscored:
        return self._reply(explanation, passages, [self.sees(explanation, each) for each in passages])

    def fuzz(self, explanation: str, marked: Sequence[Marked]) -> list[bool] | Unscored:
        return self._reply(explanation, [p for p, _ in marked], [self.believes(explanation, each) for each in marked])

    def _reply(self, explanation: str, passages: Sequence[Passage], reply: list[bool]) -> list[bool] | Unscored:
        with self.lock:
            self.asked.append((explanation, tuple(passages)))
            number = len(self.asked)
        return Unscored(reason="cut off") if self.fails(number) else reply


def scored(annotator: Scripted, **settings: int) -> Scores:
    return score(annotator, EVIDENCE, LABELS, **settings)


def test_an_oracle_is_always_right_and_another_latents_explanation_is_no_better_than_chance():
    found = scored(Scripted())
    for test, comparison in found.comparisons.items():
        assert (comparison.n, comparison.failed) == (N_LATENTS, 0)
        assert comparison.passages == N_LATENTS * (100 if test == "detection" else 50)
        assert comparison.own.value == 1.0
        assert comparison.random.value == 0.5
        assert comparison.shuffled.low < 0.5 < comparison.shuffled.high
        assert comparison.over_shuffled.low > 0.3
    one = found.latents[0]["detection"].own.accuracy
    assert one.low < 1.0 == one.high


@pytest.mark.parametrize("answer", [True, False])
def test_a_constant_answer_scores_one_half(answer):
    found = scored(Scripted(sees=lambda *_: answer, believes=lambda *_: answer))
    for test, comparison in found.comparisons.items():
        assert comparison.own.value == comparison.random.value == comparison.shuffled.value == 0.5
        assert comparison.matched == ("another latent's explanation", "shuffled labels")
        each = found.latents[3][test].own.accuracy
        assert each.low <= 0.5 <= each.high


def test_failures_are_counted_apart_and_move_no_score():
    found = scored(Scripted(fails=lambda number: number % 2 == 0))
    for test, comparison in found.comparisons.items():
        assert comparison.own.value == 1.0
        asked = 100 if test == "detection" else 50
        assert comparison.failed + comparison.passages == N_LATENTS * asked
        assert 0.4 < comparison.failed / (N_LATENTS * asked) < 0.6
        for latent in found.latents.values():
            assert latent[test].own.n + latent[test].own.failed == asked
            assert latent[test].own.failures == {"cut off": latent[test].own.failed}


def test_a_latent_without_any_reply_has_no_score_and_the_others_keep_theirs():
    failing = Scripted()
    failing.detect = lambda explanation, passages: (  # type: ignore[method-assign]
        Unscored(reason="refused") if explanation == "x0" else [has_word(explanation, each) for each in passages]
    )
    comparison = scored(failing).comparisons["detection"]
    assert comparison.n == N_LATENTS - 1
    assert comparison.own.value == 1.0
    assert comparison.failed == 100


def test_one_who_looks_badly_at_near_misses_scores_lower():
    careless = scored(Scripted(sees=lambda explanation, p: explanation in p.text))
    assert careless.latents[0]["detection"].own.accuracy.value == pytest.approx(0.75)
    assert careless.comparisons["detection"].own.value == pytest.approx(0.75)


def test_a_score_that_its_control_reaches_is_named():
    found = scored(Scripted(sees=lambda _, passage: any(token.startswith(" x") for token in passage.tokens)))
    comparison = found.comparisons["detection"]
    assert comparison.own.value == comparison.random.value == 0.75
    assert comparison.over_random.value == 0
    assert comparison.matched == ("another latent's explanation",)


def test_a_control_that_always_scores_lower_by_as_much_is_not_named():
    assert scored(Scripted()).comparisons["detection"].matched == ()


def test_the_share_of_positives_differs_between_questions_and_batches_are_small():
    annotator = Scripted()
    scored(annotator)
    sizes = Counter(len(passages) for _, passages in annotator.asked)
    assert set(sizes) == {TOGETHER}
    positives = {sum(each.largest > 0 for each in passages) for _, passages in annotator.asked}
    assert positives == set(range(TOGETHER + 1))


def test_half_of_the_marks_are_true_each_in_a_passage_of_its_own():
    seen: list[Marked] = []

    def watch(_: str, marked: Marked) -> bool:
        seen.append(marked)
        return True

    score(Scripted(believes=watch), {0: EVIDENCE[0]}, {0: LABELS[0]})
    truly = [marked == {each.codes.index(1.0)} for each, marked in seen]
    assert Counter(truly) == {True: 25, False: 25}
    assert len({each.document for each, _ in seen}) == 50
    for each, marked in seen:
        assert len(marked) == 1
        assert {each.codes[index] for index in marked} in ({1.0}, {0.0}, {0.2})


def test_passages_that_fire_nearly_everywhere_cannot_be_marked_falsely():
    codes = [(1.0,) * 8 if document < 20 else (1.0,) * 3 + (0.0,) * 5 for document in range(40)]
    firing = tuple(Passage(document=i, tokens=("a",) * 8, codes=each) for i, each in enumerate(codes))
    evidence = Evidence(latent=0, explaining=(), firing=firing, near=(), far=(), largest=1.0, frequency=0.5)
    own = score(Scripted(), {0: evidence}, {0: LABELS[0]}).latents[0]["fuzzing"].own
    assert set(own.documents) == set(range(20, 40))
    assert Counter(own.truth) == {True: 10, False: 10}


def test_questions_come_in_the_same_order_again_and_do_not_depend_on_other_latents():
    first, again, other, alone = (Scripted() for _ in range(4))
    scored(first)
    scored(again)
    scored(other, seed=1)
    assert first.asked == again.asked
    assert first.asked != other.asked
    score(alone, {5: EVIDENCE[5]}, {5: LABELS[5]})
    assert alone.asked == [each for each in first.asked if each[0] == "x5" and each[1][0] in passages_of(5)]


def passages_of(latent: int) -> tuple[Passage, ...]:
    found = EVIDENCE[latent]
    return (*found.firing, *found.near, *found.far)


def test_threads_change_no_score():
    one, several = scored(Scripted()), scored(Scripted(), threads=8)
    assert one.latents == several.latents


def test_without_another_explanation_there_is_no_random_control():
    same = {latent: Label(category="domain", explanation="x1") for latent in (1, 2)}
    found = score(Scripted(), EVIDENCE, same)
    assert found.latents[1]["detection"].random is None
    assert found.comparisons["detection"].random.value != found.comparisons["detection"].random.value  # NaN
    assert "another latent's explanation" in found.comparisons["detection"].matched


def test_a_latent_without_a_label_is_left_unscored_with_the_reason():
    labels: dict[Name, Label | Unscored] = {**LABELS, 4: Unscored(reason="empty reply")}
    found = score(Scripted(), EVIDENCE, labels)
    assert 4 not in found.latents
    assert found.unscored == {4: "empty reply"}


def test_a_reply_of_another_length_is_no_reply():
    short = Scripted()
    short.detect = lambda explanation, passages: [True]  # type: ignore[method-assign]
    own = score(short, {0: EVIDENCE[0]}, {0: LABELS[0]}).latents[0]["detection"].own
    assert own.failures == {"1 answers to 5 passages": 100}
    assert own.accuracy.value != own.accuracy.value


def test_what_an_annotator_raises_stops_scoring():
    def breaks(*_: object) -> bool:
        raise RuntimeError("no connection")

    annotator = Scripted(sees=breaks)
    with pytest.raises(RuntimeError, match="no connection"):
        scored(annotator, threads=2)
