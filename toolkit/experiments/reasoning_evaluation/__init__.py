"""Do models answer rightly, how long do they think, and what do edits of their streams change of that?"""

from dataclasses import dataclass
from pathlib import Path

from toolkit.experiments.reasoning_evaluation.arms import parse_arms
from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import Claim, OutputFolder
from toolkit.ranges import Count, PositiveOrNone, Seed, ShareAboveZero, check_ranges
from toolkit.settings.findings import FindingsOutput
from toolkit.settings.models import ControlledModels

ANSWERS, GRADED = "answers.jsonl", "graded.jsonl"
KEPT = Claim(changing=(ANSWERS, GRADED), signs={"reasoning_evaluation.json": ("question", "results", "provenance")})


@dataclass(frozen=True, kw_only=True, repr=False)
class ArmDictionaries(ShortRepr):
    """The crosscoder and the adapter that arms are made with; each is opened where an arm asks for it."""

    crosscoder: Path | None = None
    """Folder of the crosscoder whose latents steer, ablate and set; default: the shipped one, for the embedded pair."""
    layer: int | None = None
    """Layer at whose input to edit, where the crosscoder reads several layers."""
    adapter: Path | None = None
    """Folder or hub name of the adapter of hybrid and adapter; default: the shipped one, for the embedded pair."""
    other_models: bool = False
    """Accept models of other names or weights than those that crosscoder or adapter were trained on."""

    def __post_init__(self) -> None:
        for name in ("crosscoder", "adapter"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(value))  # Python may give a string


@dataclass(frozen=True, kw_only=True, repr=False)
class ReasoningEvaluationSettings(ShortRepr):
    """How answers are drawn, and where thinking is stopped."""

    temperature: PositiveOrNone = 0.6
    """Temperature of sampling: 0 is greedy, .6 is usual for R1 models. All arms use the same random seeds."""
    top_p: ShareAboveZero = 0.95
    """Draw from the likeliest tokens that together reach this probability; 1 takes all."""
    samples: Count = 1
    """Answers of each arm to each problem."""
    new_tokens: Count | None = None
    """Tokens after which an answer is cut. Default: 320 for the embedded pair, 32,768 for others."""
    instruction: str | None = None
    """What stands below each question. Default: for the embedded pair nothing, for others that the model should reason
    step by step and box its answer. Where it asks for a \\boxed{}, nothing but a box counts as an answer."""
    budgets: tuple[Count, ...] = ()
    """Tokens of thinking after which an answer is forced, for the curve of accuracy.
    Default: eight, each half of the next, up to the tokens after which an answer is cut."""
    seed: Seed = 0
    """Seed of every draw: answers, random directions."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"samples {self.samples}: greedy answers are all alike: give a temperature above 0")
        if len(set(self.budgets)) < len(self.budgets):
            raise ValueError(f"budgets {self.budgets}: give each number of tokens once")


@dataclass(frozen=True, kw_only=True, repr=False)
class ReasoningEvaluationConfig(ReasoningEvaluationSettings):
    """Let models answer problems, as they are and under edits: accuracy, length, and accuracy by tokens of thinking.

    Every answer is kept in answers.jsonl in the output folder, and a run that is stopped goes on from there;
    graded.jsonl says how each was graded.
    """

    arms: tuple[str, ...] = ()
    """Who answers; all are compared with the first. An arm is base, distilled, control, hybrid, adapter, or
    'adapter without 3/17 2/5', which names latents by layer/index; and any of these with edits:
    'distilled + steer 623 0.1' adds latent 623, as long as a tenth of the stream's norm;
    'distilled + ablate 623' takes it out; 'distilled + set 623 2.0' holds its code at 2;
    'distilled + random 0 0.1' adds random direction 0; 'distilled + steer 623,693 0.1 + ablate 3' does several things.
    'base plainly' is asked for a worked solution in plain text, without a chat's marks and <think>.
    Default: distilled, base, and control where there is one; for the embedded pair also the latter two plainly, latent
    623 added and ablated, and random directions added."""
    problems: str | None = None
    """A set by name, gsm8k, math-500, aime24, aime25, amc23 or organism, or a file of questions and answers.
    Default: for the embedded pair organism, held-out problems on which nothing was chosen; for others gsm8k."""
    n_problems: Count = 160
    """Number of problems: the first ones of the set."""
    dictionaries: ArmDictionaries = ArmDictionaries()
    output: FindingsOutput = FindingsOutput(out=Path("runs/evaluate-reasoning"))
    models: ControlledModels = ControlledModels()
    where: Where = Where()

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_arms(self.arms)

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("reasoning_evaluation", others=(KEPT,))
