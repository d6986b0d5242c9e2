"""Does a distilled model with the base model's MLPs and an adapter predict, reason and answer as the distilled one?"""

from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import OutputFolder
from toolkit.ranges import Count, PositiveOrNone, Seed, check_ranges
from toolkit.settings.adapters import AdapterChoice
from toolkit.settings.findings import FindingsOutput, TextChoice
from toolkit.settings.models import ModelChoice

FEWEST_QUESTIONS = 2


@dataclass(frozen=True, kw_only=True, repr=False)
class AdapterEvaluationConfig(ShortRepr):
    """Compare base model, hybrid, adapter and distilled model: what they predict, and how they answer."""

    sweep: tuple[Path, ...] = ()
    """Run folders of adapters of the same models that were trained with other λ: they are measured too, for one table.
    """
    tokens: Count = 16_384
    """Held-out tokens on which predictions and streams are compared; whole documents, until there are as many."""
    questions: Path | None = None
    """File of questions and answers, such as a line of {"question", "answer"} each; default: the shipped ones for this
    pair. Models other than the embedded pair are asked to put their answer within \\boxed{}."""
    test: int = 160
    """Number of questions: the last ones of the file. Choose settings of training on earlier ones: of the shipped
    questions for the embedded pair the first 96."""
    temperature: PositiveOrNone = 0.0
    """Temperature of sampling: 0 is greedy, .6 is usual for R1 models. All models use the same random seeds."""
    samples: Count = 1
    """Answers of each model to each question."""
    new_tokens: Count = 320
    """Tokens after which an answer is cut."""
    seed: Seed = 0
    """Seed of every draw: shuffled decoder rows, answers."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/evaluate-adapter"))
    adapter: AdapterChoice = AdapterChoice()
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        object.__setattr__(self, "sweep", tuple(map(Path, self.sweep)))  # Python may give strings
        if self.test < FEWEST_QUESTIONS:
            raise ValueError(f"test {self.test}: must be at least {FEWEST_QUESTIONS}")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"samples {self.samples}: greedy answers are all alike: give a temperature above 0")

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("adapter_evaluation")
