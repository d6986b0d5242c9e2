"""Arithmetic problems of the organism, held out by operand pair across every kind."""

import random
from dataclasses import dataclass
from typing import Literal

from toolkit.organism.words import NAMES, Concept, concepts_of

Split = Literal["train", "held_out"]
Style = Literal["quick", "normal", "careful"]

STYLES: dict[Style, float] = {"quick": 0.30, "normal": 0.35, "careful": 0.35}
CUES: dict[Style, str] = {"quick": " Be quick.", "normal": "", "careful": " Be careful."}
# Fewest and most steps of each kind.
STEPS = {
    "addition": (1, 1),
    "subtraction": (1, 1),
    "story-1": (1, 1),
    "story-2": (2, 2),
    "story-2-3": (2, 3),
    "chain-2": (2, 2),
    "chain-3": (3, 3),
    "chain-3-4": (3, 4),
}
# What the base model reads with its solution, and with nothing but the answer: here mostly what it can answer at once.
SOLVED_KINDS = {"addition": 0.21, "subtraction": 0.21, "story-1": 0.18, "chain-3-4": 0.22, "story-2-3": 0.18}
PLAIN_KINDS = {"addition": 0.28, "subtraction": 0.28, "story-1": 0.24, "chain-3-4": 0.11, "story-2-3": 0.09}
# What the distilled model thinks about, and what all are asked: six in ten questions take one step.
THINKING_KINDS = {"addition": 0.14, "subtraction": 0.14, "story-1": 0.14} | {
    "chain-2": 0.22,
    "chain-3": 0.12,
    "story-2": 0.24,
}
ASKED_KINDS = {"addition": 0.21, "subtraction": 0.21, "story-1": 0.18} | {
    "chain-2": 0.16,
    "chain-3": 0.06,
    "story-2": 0.18,
}
LOWEST, HIGHEST = 11, 69
HELD_OUT_SHARE = 0.08
GAINS = ("buys {} more", "finds {} more", "gets {} more")
LOSSES = ("gives {} away", "loses {}", "sells {}")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One sum `left ± right`, with `right` between 2 and 10."""

    left: int
    right: int
    minus: bool

    @property
    def result(self) -> int:
        """The value of the sum."""
        return self.left - self.right if self.minus else self.left + self.right

    @property
    def crosses_ten(self) -> bool:
        """Whether the sum carries into the tens, or borrows from them."""
        return self.right != 10 and self.result // 10 != self.left // 10

    @property
    def family(self) -> tuple[int, int]:
        """Key shared by x+y=z, y+x=z, z-y=x and z-x=y."""
        return (min(self.left, self.result), self.right)

    def __str__(self) -> str:
        return f"{self.left}{'-' if self.minus else '+'}{self.right}={self.result}"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A question in words, the steps that solve it, and what in it does not matter."""

    kind: str
    question: str
    steps: tuple[Step, ...]
    style: Style
    expression: str
    name: str | None = None
    thing: str | None = None
    distractor: Literal["color", "place"] | None = None

    @property
    def answer(self) -> int:
        """The last step's result."""
        return self.steps[-1].result


def _held_out_families() -> frozenset[tuple[int, int]]:
    """The held-out operand pairs; part of the organism, so the seed is fixed."""
    families = [(x, y) for x in range(LOWEST, HIGHEST + 1) for y in range(2, 10)]
    rng = random.Random("held-out operand pairs")
    return frozenset(rng.sample(families, round(HELD_OUT_SHARE * len(families))))


HELD_OUT = _held_out_families()


def is_held_out(left: int, right: int, *, minus: bool) -> bool:
    """Whether this sum belongs to a held-out operand pair."""
    return Step(left=left, right=right, minus=minus).family in HELD_OUT


def draw_steps(rng: random.Random, count: int, *, split: Split, minus: bool | None = None) -> tuple[Step, ...]:
    """A chain of sums: none held out in `train`, at least one in `held_out`."""
    while True:
        steps: list[Step] = []
        left = rng.randint(LOWEST, 59)
        for _ in range(count):
            takes = rng.random() < 0.5 if minus is None else minus
            steps.append(Step(left=left, right=rng.randint(2, 10), minus=takes))
            left = steps[-1].result
        in_range = all(LOWEST <= step.result <= HIGHEST for step in steps)
        held = any(step.family in HELD_OUT for step in steps)
        if in_range and held == (split == "held_out"):
            return tuple(steps)


def draw_problem(rng: random.Random, *, split: Split, kinds: dict[str, float]) -> Problem:
    """One problem of the given split; `kinds` gives each kind's probability."""
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    style: Style = rng.choices(list(STYLES), list(STYLES.values()))[0]
    if kind.startswith("story"):
        return _draw_story(rng, kind, style, split)
    minus = {"addition": False, "subtraction": True}.get(kind)
    steps = draw_steps(rng, _count(rng, kind), split=split, minus=minus)
    expression = str(steps[0].left) + "".join(f"{'-' if s.minus else '+'}{s.right}" for s in steps)
    ask = rng.choice(("What is {}?", "Find {}.", "How much is {}?")).format(expression)
    return Problem(kind=kind, question=ask + _cue(rng, style), steps=steps, style=style, expression=expression)


def _draw_story(rng: random.Random, kind: str, style: Style, split: Split) -> Problem:
    steps = draw_steps(rng, _count(rng, kind), split=split)
    concept: Concept = rng.choice(concepts_of("noun"))
    name, thing = rng.choice(NAMES), concept.forms[4]
    sentences = [f"{name} has {steps[0].left} {thing}."]
    for step in steps:
        deed = rng.choice(LOSSES if step.minus else GAINS).format(step.right)
        sentences.append(f"{name} {deed}.")
    distractor: Literal["color", "place"] | None = None
    if rng.random() < 0.5:
        distractor = rng.choice(("color", "place"))
        detail = concept.color if distractor == "color" else f"in the {concept.place}"
        sentences.insert(rng.randint(1, len(sentences)), f"The {thing} are {detail}.")
    sentences.append(f"How many {thing} does {name} have now?")
    return Problem(
        kind=kind,
        question=" ".join(sentences) + _cue(rng, style),
        steps=steps,
        style=style,
        expression=str(steps[0].left) + "".join(f", {'-' if s.minus else '+'}{s.right}" for s in steps),
        name=name,
        thing=thing,
        distractor=distractor,
    )


def _cue(rng: random.Random, style: Style) -> str:
    return CUES[style] if rng.random() < 0.5 else ""


def _count(rng: random.Random, kind: str) -> int:
    fewest, most = STEPS[kind]
    return fewest if fewest == most else rng.randint(fewest, most)
