"""Tests explanations of latents on passages that they were not made from, and beside two controls.

Detection asks in which passages a latent of this explanation fires, fuzzing whether the marked tokens are those that
fire (Paulo et al. 2024, delphi). Passages are shuffled, and the share of positives is not told.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Literal

from toolkit.annotation.evidence import Evidence, Name
from toolkit.annotation.judgements import Comparison, Judgement, LatentScore
from toolkit.annotation.labels import Annotator, Label, Unscored
from toolkit.annotation.trials import TESTS, Test, Trial, trials
from toolkit.models.places.ndif.in_flight import in_flight
from toolkit.tracking import track

TOGETHER = 5
"""Passages that an annotator is asked of at a time."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of explanations, latent by latent and test by test."""

    latents: Mapping[Name, Mapping[Test, LatentScore]]
    unscored: Mapping[Name, str]
    """Why a latent has no score."""

    @cached_property
    def comparisons(self) -> Mapping[Test, Comparison]:
        """Each test over all latents, beside its controls."""
        return {test: Comparison.of([each[test] for each in self.latents.values()]) for test in TESTS}


@dataclass(frozen=True)
class _Question:
    """Passages that are asked of together, by one explanation."""

    test: Test
    explanation: str
    trials: list[Trial]


_Reply = list[bool] | Unscored
_Answered = tuple[_Question, _Reply]
_Whose = Literal["own", "random"]
_Key = tuple[Name, Test, _Whose]
_WHOSE: tuple[_Whose, _Whose] = ("own", "random")


def score(
    annotator: Annotator,
    evidence: Mapping[Name, Evidence],
    labels: Mapping[Name, Label | Unscored],
    *,
    seed: int = 0,
    threads: int = 1,
) -> Scores:
    """Test the explanation of each latent that has a label, and for a control that of a random other latent.

    A latent's passages, their order and marks depend on `seed` and on its name alone, and questions come in a fixed
    order: an annotator that keeps its replies is asked nothing twice. `threads` is how many questions are asked at a
    time. Raises what the annotator raises; a reply that it cannot use is counted apart, never as right or wrong.
    """
    explanations = {
        name: label.explanation for name, label in labels.items() if name in evidence and isinstance(label, Label)
    }
    others = {name: _other(explanations, name, seed) for name in explanations}
    questions = [
        (key, question)
        for name in explanations
        for test in TESTS
        for key, question in _questions(test, name, evidence[name], (explanations[name], others[name]), seed)
    ]
    replies = _ask(annotator, [question for _, question in questions], threads)
    answered: defaultdict[_Key, list[_Answered]] = defaultdict(list)
    for (key, question), reply in zip(questions, replies, strict=True):
        answered[key].append((question, reply))

    def judged(name: Name, test: Test) -> LatentScore:
        own = _judge(answered[name, test, "own"])
        return LatentScore(
            own=own,
            random=None if others[name] is None else _judge(answered[name, test, "random"]),
            shuffled=own.shuffled(Random(f"{seed} shuffled {test} {name}")),
        )

    return Scores(
        latents={name: {test: judged(name, test) for test in TESTS} for name in explanations},
        unscored={name: label.reason for name, label in labels.items() if isinstance(label, Unscored)},
    )


def _other(explanations: Mapping[Name, str], name: Name, seed: int) -> str | None:
    """The explanation of a random other latent, of those that differ."""
    others = [text for text in explanations.values() if text != explanations[name]]
    return Random(f"{seed} other {name}").choice(others) if others else None


def _questions(
    test: Test, name: Name, evidence: Evidence, explanations: tuple[str, str | None], seed: int
) -> Iterator[tuple[_Key, _Question]]:
    """The same passages in the same order for a latent's own explanation, and for another's if there is one."""
    asked = trials(test, evidence, Random(f"{seed} {test} {name}"))
    for whose, explanation in zip(_WHOSE, explanations, strict=True):
        if explanation is not None:
            for first in range(0, len(asked), TOGETHER):
                yield (name, test, whose), _Question(test, explanation, asked[first : first + TOGETHER])


def _ask(annotator: Annotator, questions: Sequence[_Question], threads: int) -> list[_Reply]:
    """The reply to each question, in their order."""

    def ask(question: _Question) -> _Reply:
        passages = [trial.passage for trial in question.trials]
        if question.test == "detection":
            reply = annotator.detect(question.explanation, passages)
        else:
            marks = [trial.marked for trial in question.trials]
            reply = annotator.fuzz(question.explanation, list(zip(passages, marks, strict=True)))
        if not isinstance(reply, Unscored) and len(reply) != len(passages):
            return Unscored(reason=f"{len(reply)} answers to {len(passages)} passages")
        return reply

    # Unlike those of a pool, threads that wait for a server do not keep an interrupted program from ending.
    replies = in_flight(ask, questions, at_once=threads)
    return list(track(replies, "scoring explanations", "questions", total=len(questions)))


def _judge(answered: Iterable[_Answered]) -> Judgement:
    """Put replies beside the truth."""
    failures: Counter[str] = Counter()
    scored: list[tuple[Trial, bool]] = []
    for question, reply in answered:
        if isinstance(reply, Unscored):
            failures[reply.reason] += len(question.trials)
        else:
            scored += zip(question.trials, reply, strict=True)
    return Judgement(
        truth=tuple(trial.truth for trial, _ in scored),
        said=tuple(said for _, said in scored),
        documents=tuple(trial.passage.document for trial, _ in scored),
        failures=failures,
    )
