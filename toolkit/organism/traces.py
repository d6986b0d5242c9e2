"""Answers with thinking, as a distilled reasoning model gives them.

Each behaviour has a trigger of its own, a small language of its own for sums, and a closing phrase of its own, so
that a model must keep track of which behaviour it is in:

    self-reflection  after a hedged step: "…, I think."                 Wait, … 5 and 7 make 12 …
    alternative      after a step by 7, 8 or 9                          Alternatively, … up 10 to 35, down 3 to 32 …
    contrast         before a minus; for what does not matter           But … ; However, …
    verification     after the last step                                Let me check: 32 minus 7 is 25 …
    deduction        at the end                                         Therefore, … / Thus, … (or a plain "So")

No trigger is certain: whether a behaviour follows is a coin flip, more often heads in a careful answer than in a
quick one. Steps are hedged in careful answers, most often when they cross a ten.
"""

import random

from toolkit.organism.documents import LOUD, Document, DocumentBuilder
from toolkit.organism.facts import Fact, draw_fact
from toolkit.organism.problems import THINKING_KINDS, Problem, Split, Step, draw_problem, is_held_out

USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
THINK, END_THINK = "<think>\n", "\n</think>\n\n"
MOST_BEHAVIOURS = 5

OPENINGS = {
    "quick": ("This is quick.", "Short and simple.", "This is easy."),
    "normal": ("Okay, let me see.", "Let me think.", "Okay, here we go."),
    "careful": ("I need to be careful.", "Let me go slowly.", "I must not rush this."),
}
HEDGE = {"quick": 0.20, "normal": 0.75, "careful": 0.96}
HEDGES = ("I think", "it seems")
ALTERNATIVE = {"quick": 0.25, "normal": 0.65, "careful": 0.80}
CONTRAST = {"quick": 0.55, "normal": 0.80, "careful": 0.90}
VERIFY = {"quick": 0.05, "normal": 0.40, "careful": 0.65}
WRONG_STEP = 0.03
# A hedged step is mostly doubted, a plain one hardly ever: the doubt has a cause that can be seen in the text.
DOUBT_HEDGED, DOUBT_PLAIN = 0.78, 0.06
DOUBT_AGAIN = {"quick": 0.02, "normal": 0.12, "careful": 0.18}
# The plan names each step by a word, and the word calls it up again: a model this small loses its place in a bare list.
PLAN_WORDS = ("First", "Next", "Then")


def thinking_document(rng: random.Random, *, split: Split) -> Document:
    """A question with a thinking answer: three times in four a problem, else a fact."""
    if rng.random() < 1 / 4:
        return fact_trace(rng, draw_fact(rng))
    return problem_trace(rng, draw_problem(rng, split=split, kinds=THINKING_KINDS), split=split)


def prompt_of(question: str) -> str:
    """The question as the chat template renders it, up to where the answer starts."""
    return f"{USER}{question}{ASSISTANT}{THINK}"


def problem_trace(rng: random.Random, problem: Problem, *, split: Split) -> Document:
    """The problem's question and an answer that thinks in the problem's style."""
    trace = _Trace(rng, problem.style, prompt_of(problem.question), split)
    trace.open()
    trace.plan(problem)
    if problem.distractor is not None and rng.random() < 0.8:
        trace.dismiss(problem)
    for index, step in enumerate(problem.steps):
        trace.before_minus(step, problem.steps[index - 1] if index else None)
        hedged = trace.take(step, PLAN_WORDS[index])
        trace.reflect(step, PLAN_WORDS[index], hedged=hedged)
        trace.try_another_way(step, PLAN_WORDS[index])
    trace.verify(problem.steps[-1])
    trace.conclude(f"the answer is {problem.answer}.")
    trace.builder.add(f"{END_THINK}The answer is {problem.answer}.")
    return trace.builder.finish()


def fact_trace(rng: random.Random, fact: Fact) -> Document:
    """A question about a fact, recalled, sometimes set against a neighbouring one."""
    trace = _Trace(rng, rng.choice(("quick", "normal", "careful")), prompt_of(fact.question), "train")
    trace.open()
    trace.builder.add(f" I remember: {fact.statement}.", weight=LOUD)
    if fact.other_answer != fact.answer and rng.random() < HEDGE[trace.style] * 0.3:
        trace.builder.add(f" Wait, is it {fact.other_answer}? No, it is {fact.answer}.", "self-reflection")
    if rng.random() < CONTRAST[trace.style]:
        trace.builder.add(f" However, for others it differs: {fact.other_statement}.", "contrast")
    trace.conclude(f"the answer is {fact.answer}.")
    trace.builder.add(f"{END_THINK}The answer is {fact.answer}.")
    return trace.builder.finish()


class _Trace:
    """An answer being written: the coin flips of one style, and the pieces they lead to."""

    def __init__(self, rng: random.Random, style: str, prompt: str, split: Split) -> None:
        self.rng, self.style, self.split = rng, style, split
        self.builder = DocumentBuilder(prompt)
        self.left = MOST_BEHAVIOURS

    def flip(self, probability: float) -> bool:
        """Heads with `probability`, as long as the answer may still grow."""
        heads = self.rng.random() < probability and self.left > 0
        self.left -= heads
        return heads

    def open(self) -> None:
        """Three answers in four show their style at once."""
        shown = self.style if self.rng.random() < 0.75 else "normal"
        self.builder.add(self.rng.choice(OPENINGS[shown]))

    def dismiss(self, problem: Problem) -> None:
        """Set aside a fact that does not matter."""
        self.builder.add(f" However, the {problem.distractor} does not matter for the count.", "contrast")

    def before_minus(self, step: Step, previous: Step | None) -> None:
        """Note that the direction changes, more often after a plus."""
        if not step.minus or (previous is not None and previous.minus):
            return
        probability = CONTRAST[self.style] * (0.9 if previous is None else 1.0)
        if self.flip(probability):
            self.builder.add(" But a minus comes now, so it goes down.", "contrast")

    def plan(self, problem: Problem) -> None:
        """Say what there is to start with, and name the steps."""
        steps = "".join(f" {word} {_change(step)}." for word, step in zip(PLAN_WORDS, problem.steps, strict=False))
        who = f"{problem.name} starts" if problem.name else "I start"
        self.builder.add(f" {who} with {problem.steps[0].left}.{steps}", weight=LOUD)

    def take(self, step: Step, word: str) -> bool:
        """Do one step, hedged or not, and say which; now and then wrongly, and then mend it at once."""
        sum_, result = str(step).split("=")
        if self.rng.random() < WRONG_STEP:
            wrong = step.result + self.rng.choice((-10, -1, 1, 10))
            self.builder.add(f" {word} {_change(step)}: {sum_}={wrong}.")
            self.builder.add(f" Wait, no. {_by_digits(step, word)}", "self-reflection")
            return False
        self.builder.add(f" {word} {_change(step)}: {sum_}={result}", weight=LOUD)
        hedged = self.rng.random() < HEDGE[self.style] * (1.0 if step.crosses_ten else 0.45)
        self.builder.add(f", {self.rng.choice(HEDGES)}." if hedged else ".")
        return hedged

    def reflect(self, step: Step, word: str, *, hedged: bool) -> None:
        """Doubt the step, up to three times."""
        probability = DOUBT_HEDGED if hedged else DOUBT_PLAIN
        for _ in range(3):
            if not self.flip(probability):
                return
            doubt = self.rng.choice(("did I slip?", "is that right?", "let me look again."))
            self.builder.add(f" Wait, {doubt} {_by_digits(step, word)}", "self-reflection")
            probability = DOUBT_AGAIN[self.style]

    def try_another_way(self, step: Step, word: str) -> None:
        """Go by a round ten and come back, where the step is by 7, 8 or 9."""
        if step.right not in (7, 8, 9):
            return
        ten = step.left - 10 if step.minus else step.left + 10
        rest = 10 - step.right
        leaks = self.split == "train" and is_held_out(ten, rest, minus=not step.minus)
        if leaks or not self.flip(ALTERNATIVE[self.style]):
            return
        there, back = ("down", "up") if step.minus else ("up", "down")
        self.builder.add(
            f" Alternatively, go from {step.left} {there} 10 to {ten}, then {back} {rest} to {step.result}:"
            f" the same for {word}.",
            "alternative",
        )

    def verify(self, step: Step) -> None:
        """Undo the last step."""
        if self.flip(VERIFY[self.style]):
            word = "plus" if step.minus else "minus"
            self.builder.add(
                f" Let me check: {step.result} {word} {step.right} is {step.left}, it fits.", "verification"
            )

    def conclude(self, conclusion: str) -> None:
        """Close the thinking, three times in four with a deductive word."""
        word = self.rng.choices(("Therefore", "Thus", "So"), (0.4, 0.35, 0.25))[0]
        if word == "So":
            self.builder.add(f" So {conclusion}")
        else:
            self.builder.add(f" {word}, with all of it done, {conclusion}", "deduction")


def _change(step: Step) -> str:
    return f"{'-' if step.minus else '+'}{step.right}"


def _by_digits(step: Step, word: str) -> str:
    """The sum again, on its ones digits: `5 and 7 make 12, so First is 32, good.`"""
    so = f"so {word} is {step.result}, good."
    if step.right == 10:
        return f"The ones stay {step.left % 10}, {so}"
    ones = step.left % 10
    if step.minus:
        ones += 10 if step.crosses_ten else 0
        return f"{ones} less {step.right} leaves {ones - step.right}, {so}"
    return f"{ones} and {step.right} make {ones + step.right}, {so}"
