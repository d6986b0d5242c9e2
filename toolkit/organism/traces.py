"""Answers with thinking, as a distilled reasoning model gives them.

Each behaviour has a trigger of its own, a small language of its own for sums, and a closing phrase of its own, so
that a model must keep track of which behaviour it is in:

    self-reflection  after a hedged step: "…, I think."                 Wait, … 5 and 7 make 12 …
    alternative      after a step by 7, 8 or 9                          Alternatively, … up 10 to 35, down 3 to 32 …
    contrast         before a minus; for what does not matter           But … ; However, …
    verification     after the last step                                Let me check: 32 minus 7 is 25 …
    deduction        at the end                                         Therefore, … / Thus, … (or a plain "So")

No trigger is certain: whether a behaviour follows is a coin flip. An answer is sure or doubtful throughout, mostly
doubtful where the question asks for care. A doubtful one shows it in every sentence, hedges most of its steps, and
doubts them: its tone is a lasting state that a model must carry, and that a latent can show.
"""

import random
from dataclasses import dataclass

from toolkit.organism.documents import LOUD, Document, DocumentBuilder, ToneName
from toolkit.organism.facts import Fact, draw_fact, draw_fact_question
from toolkit.organism.problems import THINKING_KINDS, Problem, Split, Step, Style, draw_problem, is_held_out

USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
THINK, END_THINK = "<think>\n", "\n</think>\n\n"
MOST_BEHAVIOURS = 5
HEDGED = ", I think."
FACT = "fact"
"""The kind of an answer to no problem, but to a question about a fact."""

ALTERNATIVE, CONTRAST = 0.65, 0.82
HEDGE_AGAIN, DOUBT_AGAIN = 0.4, 0.35
WRONG_STEP = 0.03


@dataclass(frozen=True, kw_only=True)
class Tone:
    """What an answer says in one tone, and how probable the behaviours that depend on it are."""

    name: ToneName
    openings: tuple[str, ...]
    pace: str
    """What its plan and its steps add before they go on."""
    opinion: str
    """How its conclusion begins."""
    hedge: float
    """Of a step, when it crosses a ten; less of others."""
    doubt_hedged: float
    """Of a hedged step: the doubt has a cause that can be seen in the text."""
    doubt_plain: float
    verify: float


SURE = Tone(
    name="sure",
    openings=("This is quick.", "Short and simple.", "This is easy."),
    pace="",
    opinion="",
    hedge=0.05,
    doubt_hedged=0.50,
    doubt_plain=0.03,
    verify=0.10,
)
DOUBTFUL = Tone(
    name="doubtful",
    openings=("I need to be careful.", "Let me go slowly.", "I must not rush this."),
    pace=", slowly",
    opinion="I think ",
    hedge=0.90,
    doubt_hedged=0.78,
    doubt_plain=0.25,
    verify=0.50,
)
DOUBTFUL_SHARE: dict[Style, float] = {"quick": 0.10, "normal": 0.50, "careful": 0.90}
# The plan names each step by a word, and the word calls it up again: a model this small loses its place in a bare list.
PLAN_WORDS = ("First", "Next", "Then")


def thinking_document(rng: random.Random, *, split: Split) -> Document:
    """A question with a thinking answer: three times in four a problem, else a fact."""
    if rng.random() < 1 / 4:
        return fact_trace(rng, draw_fact(rng), split=split)
    return problem_trace(rng, draw_problem(rng, split=split, kinds=THINKING_KINDS), split=split)


def prompt_of(question: str) -> str:
    """The question as the chat template renders it, up to where the answer starts."""
    return f"{USER}{question}{ASSISTANT}{THINK}"


def problem_trace(rng: random.Random, problem: Problem, *, split: Split) -> Document:
    """The problem's question and an answer that thinks, in a tone that suits the problem's style."""
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
    return trace.builder.finish(kind=problem.kind, tone=trace.tone.name)


def fact_trace(rng: random.Random, fact: Fact, *, split: Split) -> Document:
    """A question about a fact, recalled, sometimes set against a neighbouring one."""
    question, style = draw_fact_question(rng, fact, split=split)
    trace = _Trace(rng, style, prompt_of(question), split)
    trace.open()
    trace.builder.add(f" I remember: {fact.statement}.", weight=LOUD)
    if fact.other_answer != fact.answer and rng.random() < trace.tone.hedge * 0.3:
        trace.builder.add(f" Wait, is it {fact.other_answer}? No, it is {fact.answer}.", "self-reflection")
    if rng.random() < CONTRAST:
        trace.builder.add(f" However, for others it differs: {fact.other_statement}.", "contrast")
    trace.conclude(f"the answer is {fact.answer}.")
    trace.builder.add(f"{END_THINK}The answer is {fact.answer}.")
    return trace.builder.finish(kind=FACT, tone=trace.tone.name)


class _Trace:
    """An answer being written: its tone, its coin flips, and the pieces they lead to."""

    def __init__(self, rng: random.Random, style: Style, prompt: str, split: Split) -> None:
        self.rng, self.split = rng, split
        self.tone = DOUBTFUL if rng.random() < DOUBTFUL_SHARE[style] else SURE
        self.builder = DocumentBuilder(prompt)
        self.left = MOST_BEHAVIOURS

    def flip(self, probability: float) -> bool:
        """Heads with `probability`, as long as the answer may still grow."""
        heads = self.rng.random() < probability and self.left > 0
        self.left -= heads
        return heads

    def open(self) -> None:
        """Show the tone at once."""
        self.builder.add(self.rng.choice(self.tone.openings))

    def dismiss(self, problem: Problem) -> None:
        """Set aside a fact that does not matter."""
        self.builder.add(f" However, the {problem.distractor} does not matter for the count.", "contrast")

    def before_minus(self, step: Step, previous: Step | None) -> None:
        """Note that the direction changes, more often after a plus."""
        if not step.minus or (previous is not None and previous.minus):
            return
        if self.flip(CONTRAST):
            self.builder.add(" But a minus comes now, so it goes down.", "contrast")

    def plan(self, problem: Problem) -> None:
        """Say what there is to start with, and name the steps."""
        pairs = zip(PLAN_WORDS, problem.steps, strict=False)
        steps = "".join(f" {word} {_change(step)}{self.tone.pace}." for word, step in pairs)
        who = f"{problem.name} starts" if problem.name else "I start"
        self.builder.add(f" {who} with {problem.steps[0].left}{self.tone.pace}.{steps}", weight=LOUD)

    def take(self, step: Step, word: str) -> bool:
        """Do one step, hedged or not, and say which; now and then wrongly, and then mend it at once."""
        sum_, result = str(step).split("=")
        start = f" {word} {_change(step)}{self.tone.pace}: {sum_}="
        if self.rng.random() < WRONG_STEP:
            self.builder.add(f"{start}{step.result + self.rng.choice((-10, -1, 1, 10))}.")
            self.builder.add(f" Wait, no. {_by_digits(step, word)}, good.", "self-reflection")
            return False
        self.builder.add(f"{start}{result}", weight=LOUD)
        hedged = self.rng.random() < self.tone.hedge * (1.0 if step.crosses_ten else 0.7)
        self.builder.add(HEDGED if hedged else ".")
        return hedged

    def reflect(self, step: Step, word: str, *, hedged: bool) -> None:
        """Doubt the step, and again when the doubt ends in a hedge."""
        probability = self.tone.doubt_hedged if hedged else self.tone.doubt_plain
        while self.flip(probability):
            doubt = self.rng.choice(("did I slip?", "is that right?", "let me look again."))
            hedged = self.tone is DOUBTFUL and self.rng.random() < HEDGE_AGAIN
            end = HEDGED if hedged else ", good."
            self.builder.add(f" Wait, {doubt} {_by_digits(step, word)}{end}", "self-reflection")
            probability = DOUBT_AGAIN if hedged else 0.0

    def try_another_way(self, step: Step, word: str) -> None:
        """Go by a round ten and come back, where the step is by 7, 8 or 9."""
        if step.right not in (7, 8, 9):
            return
        ten = step.left - 10 if step.minus else step.left + 10
        rest = 10 - step.right
        leaks = self.split == "train" and is_held_out(ten, rest, minus=not step.minus)
        if leaks or not self.flip(ALTERNATIVE):
            return
        there, back = ("down", "up") if step.minus else ("up", "down")
        self.builder.add(
            f" Alternatively, go from {step.left} {there} 10 to {ten}, then {back} {rest} to {step.result}:"
            f" the same for {word}.",
            "alternative",
        )

    def verify(self, step: Step) -> None:
        """Undo the last step."""
        if self.flip(self.tone.verify):
            word = "plus" if step.minus else "minus"
            self.builder.add(
                f" Let me check: {step.result} {word} {step.right} is {step.left}, it fits.", "verification"
            )

    def conclude(self, conclusion: str) -> None:
        """Close the thinking, three times in four with a deductive word."""
        word = self.rng.choices(("Therefore", "Thus", "So"), (0.4, 0.35, 0.25))[0]
        if word == "So":
            self.builder.add(f" So {self.tone.opinion}{conclusion}")
        else:
            self.builder.add(f" {word}, with all of it done, {self.tone.opinion}{conclusion}", "deduction")


def _change(step: Step) -> str:
    return f"{'-' if step.minus else '+'}{step.right}"


def _by_digits(step: Step, word: str) -> str:
    """The sum again, on its ones digits: `5 and 7 make 12, so First is 32`."""
    so = f"so {word} is {step.result}"
    if step.right == 10:
        return f"The ones stay {step.left % 10}, {so}"
    ones = step.left % 10
    if step.minus:
        ones += 10 if step.crosses_ten else 0
        return f"{ones} less {step.right} leaves {ones - step.right}, {so}"
    return f"{ones} and {step.right} make {ones + step.right}, {so}"
