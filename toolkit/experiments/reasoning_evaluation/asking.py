"""Which problems are asked, and how: the instruction below each, the limit of tokens, and budgets of thinking."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from toolkit.answers.answering import Answerer, Writing
from toolkit.answers.budgets import budget_grid
from toolkit.answers.questions import Question, instruction_to
from toolkit.experiments.reasoning_evaluation import ReasoningEvaluationSettings
from toolkit.formatting import counted
from toolkit.latents.categories import hesitation
from toolkit.models.model.generation_request import check_prompts
from toolkit.models.model.sampling import Sampling
from toolkit.models.presets import CHECKOUT
from toolkit.models.text.tokenizers import encode

EMBEDDED_NEW_TOKENS, NEW_TOKENS = 320, 32_768
FEWEST_PROBLEMS = 2
EMBEDDED_MODELS = CHECKOUT / "artifacts" / "organism"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What every arm is asked."""

    questions: tuple[Question, ...]
    writing: Writing
    budgets: tuple[int, ...]
    plainly: bool
    """Whether some arms are asked for a worked solution in plain text."""

    def facts(self) -> dict[str, str]:
        """What a report's head says of it."""
        writing = self.writing
        drawn = (
            "greedy"
            if writing.temperature == 0
            else f"temperature {writing.temperature:g}, top_p {writing.top_p:g}, {writing.samples} to each problem, the"
            " same seeds in all arms"
        )
        below = f', below it "{writing.instruction}"' if writing.instruction else ""
        plainly = f'; plainly: the question{below}, then "Solution:", as plain text' if self.plainly else ""
        return {
            "answers": f"{drawn}, at most {writing.new_tokens:,} new tokens",
            "prompt": f"the question{below}, up to where a model begins to think{plainly}",
            "seed": str(writing.seed),
        }


def asking(settings: ReasoningEvaluationSettings, arms: Iterable[Answerer], questions: Sequence[Question]) -> Asking:
    """Ask these arms these questions.

    Models of the embedded pair say their answers, as they were trained to; others are asked for a box. Raises
    `ValueError` for fewer than two questions, for one without an answer, for a tokenizer without a chat template, and
    for answers that would be longer than a model's context.
    """
    _check_questions(questions)
    arms = list(arms)
    embedded = all(arm.model.source.startswith(f"{EMBEDDED_MODELS}/") for arm in arms)
    new_tokens = settings.new_tokens or (EMBEDDED_NEW_TOKENS if embedded else NEW_TOKENS)
    instruction = instruction_to(embedded=embedded) if settings.instruction is None else settings.instruction.strip()
    for arm in arms:
        if not arm.plainly:
            check_template(arm.model.tokenizer)
        prompts = encode(arm.model.tokenizer, [arm.prompt(each.question, instruction) for each in questions])
        check_prompts(prompts, Sampling(new_tokens=new_tokens), arm.model.context)
    writing = Writing(
        hesitation_ids=frozenset(hesitation(arms[0].model.tokenizer).token_ids),
        new_tokens=new_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        samples=settings.samples,
        instruction=instruction,
        seed=settings.seed,
    )
    budgets = settings.budgets or budget_grid(new_tokens)
    plainly = any(arm.plainly for arm in arms)
    return Asking(questions=tuple(questions), writing=writing, budgets=tuple(sorted(budgets)), plainly=plainly)


def check_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise `ValueError` for a tokenizer without a chat template, which cannot lay out a question."""
    if not tokenizer.chat_template:
        raise ValueError(
            f"the tokenizer {tokenizer.name_or_path!r} has no chat template, so that no question can be laid out: give"
            " models whose tokenizer has one, or set its chat_template and save it"
        )


def _check_questions(questions: Sequence[Question]) -> None:
    if len(questions) < FEWEST_PROBLEMS:
        raise ValueError(f"{counted(len(questions), 'problem')}: give at least {FEWEST_PROBLEMS}, to compare arms on")
    for number, each in enumerate(questions):
        if each.answer is None:
            raise ValueError(
                f"question {number} ({each.question!r:.60}) has no answer, and answers are graded: give one, or leave"
                " the question out"
            )
