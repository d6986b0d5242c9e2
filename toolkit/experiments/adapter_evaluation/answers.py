"""The same questions to the base model, the hybrid, the adapter and the distilled model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.answers.answer_tables import Answers
from toolkit.answers.answering import Answerer, Writing, answer_each
from toolkit.answers.means import MEASURES, SHARES, UNIT, means
from toolkit.answers.questions import Question
from toolkit.experiments.adapter_evaluation.study import recovered
from toolkit.latents.categories import hesitation
from toolkit.models.places.open_model import open_model
from toolkit.models.sources import Source, tokenizers_of
from toolkit.models.text.chat import thinking_prompt
from toolkit.models.text.tokenizers import encode
from toolkit.models.where import Where
from toolkit.statistics.estimates import Estimate, mean, ratio_of_sums
from toolkit.statistics.shares import change_of_share

MODES = ("base", "hybrid", "adapter", "distilled")
MEASURED = tuple(MEASURES)
"""What is measured of an answer, by its name in `Answers`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ModeAnswers:
    """Answers by mode; some modes may be missing."""

    modes: tuple[str, ...]
    answers: Answers
    """Arms are the modes."""

    def values(self, measure: str, mode: str) -> Float[Tensor, " question"]:
        """One measure of one mode's answers, by its name in `Answers`."""
        table: Tensor = getattr(self.answers, measure)
        return table[self.modes.index(mode)]

    def means(self, mode: str) -> dict[str, Estimate]:
        """The mean of each measure."""
        return means(self.answers, self.modes.index(mode))

    def difference(self, measure: str, mode: str, less: str) -> Estimate:
        """One mode less another, question by question."""
        changes = self.values(measure, mode) - self.values(measure, less)
        return change_of_share(changes, unit=UNIT) if measure in SHARES else mean(changes, unit=UNIT)

    def recovered(self, measure: str) -> Estimate:
        """How far the adapter goes from the hybrid to the distilled model."""
        adapter, hybrid, distilled = (self.values(measure, mode) for mode in ("adapter", "hybrid", "distilled"))
        return recovered(adapter, hybrid, distilled, unit=UNIT)

    def with_adapter(self, answers: Answers) -> "ModeAnswers":
        """The same with another adapter's answers, its only arm, in place of the adapter's."""
        numbers = range(len(self.modes))
        return ModeAnswers(
            modes=("adapter", *(mode for mode in self.modes if mode != "adapter")),
            answers=answers.beside(self.answers.arms([i for i in numbers if self.modes[i] != "adapter"])),
        )

    @property
    def length_ratio(self) -> Estimate:
        """Mean length of the adapter's answers over that of the distilled model's."""
        return ratio_of_sums(self.values("length", "adapter"), self.values("length", "distilled"), unit=UNIT)

    @property
    def known(self) -> bool:
        """Whether right answers are known."""
        return not bool(self.answers.correct.isnan().all())


def answer_adapted(adapted: AdaptedModel, questions: Sequence[Question], writing: Writing) -> ModeAnswers:
    """Answers of the hybrid, the adapter and the distilled model."""
    arms = {"hybrid": adapted.hybrid, "adapter": adapted.adapter, "distilled": adapted.distilled}
    return ModeAnswers(modes=tuple(arms), answers=answer_each([*map(Answerer, arms.values())], questions, writing))


def answer_base(
    adapted: AdaptedModel, questions: Sequence[Question], writing: Writing, where: Where
) -> tuple[Answers, bool]:
    """Answers of the base model, and whether it was asked with the same ids as the others.

    It is loaded for them, and its memory freed after. Where the ids mean something else to it, its own tokenizer lays
    the questions out.
    """
    base, tokenizer = adapted.sources[0], adapted.tokenizer
    alike = base.module is not None or _reads_alike(base, tokenizer, questions, writing.instruction)
    if not alike:
        tokenizer = tokenizers_of([base], None)[base.role]
    model = open_model(base.module or base.name, tokenizer, where, hub=base.hub)
    counted = replace(writing, hesitation_ids=frozenset(hesitation(tokenizer).token_ids))
    try:
        return answer_each([Answerer(model)], questions, counted), alike
    finally:
        if base.module is None:
            model.place.free()


def _reads_alike(
    base: Source, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question], instruction: str
) -> bool:
    """Whether every id of the questions, laid out by the distilled model's tokenizer, means the same to the base."""
    prompts = encode(
        tokenizer, [thinking_prompt(tokenizer, each.question, instruction=instruction) for each in questions]
    )
    ids = sorted({token_id for prompt in prompts for token_id in prompt})
    own = tokenizers_of([base], None)[base.role]
    embedded: bool = ids[-1] < base.config().vocab_size
    return embedded and own.convert_ids_to_tokens(ids) == tokenizer.convert_ids_to_tokens(ids)
