"""What do logistic and harmonic probes of frozen activations tell, and are their class centres alike in both models?"""

import math
from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import RESULTS, OutputFolder
from toolkit.ranges import Count, CountOrNone, Positive, PositiveOrNone, Seed, check_ranges
from toolkit.settings.findings import FindingsOutput
from toolkit.settings.models import ModelChoice

HESITATES, TONE, KIND, BEHAVIOUR = "next_is_hesitation", "tone", "problem_kind", "behaviour"
LABELS = (HESITATES, TONE, KIND, BEHAVIOUR)
STEERED = (HESITATES, TONE)
"""Labels that have a class to steer toward: a hesitation word comes next, the answer is doubtful."""


@dataclass(frozen=True, kw_only=True, repr=False)
class CentreSteering(ShortRepr):
    """Steering toward a class centre: questions, strengths, and the latent that stands beside it."""

    toward: str = HESITATES
    """Label whose centres steer: next_is_hesitation, toward a hesitation word, or tone, toward doubt."""
    questions: Path | None = None
    """File of questions and answers, such as a line of {"question", "answer"} each; default: the shipped ones for this
    pair. Models other than the embedded pair are asked to put their answer within \\boxed{}."""
    development: CountOrNone = 32
    """Number of questions on which the best random direction is picked: the first ones of the file; 0 leaves steering
    out."""
    test: CountOrNone = 64
    """Number of questions on which directions are compared: the next ones; 0 leaves steering out."""
    random: Count = 16
    """Random directions, of which the best on the development questions is the control."""
    strengths: tuple[float, ...] = (-0.1, 0.1)
    """Lengths of the added vector, as shares of the stream's mean norm, at which all directions are compared; the slope
    of log length is taken over them."""
    temperature: PositiveOrNone = 0.6
    """Temperature of sampling: 0 is greedy, .6 is usual for R1 models. All arms use the same random seeds."""
    new_tokens: Count = 320
    """Tokens after which an answer is cut."""
    model: str = "distilled"
    """The model that answers: base or distilled."""
    latent: int | None = None
    """Latent of a crosscoder that steers beside the centres. Default: 623 of the shipped crosscoder for the embedded
    pair; for other pairs, none."""
    crosscoder: Path | None = None
    """Folder of the crosscoder of --latent; default: the shipped one, for the embedded pair."""
    other_models: bool = False
    """Accept models of other names than those the crosscoder was trained on: copies, or another checkpoint."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.crosscoder is not None:
            object.__setattr__(self, "crosscoder", Path(self.crosscoder))  # Python may give a string
        if self.toward not in STEERED:
            raise ValueError(f"toward {self.toward!r}: choose from {', '.join(STEERED)}")
        if bad := [each for each in self.strengths if not math.isfinite(each) or each == 0]:
            raise ValueError(f"strength {bad[0]}: give finite numbers other than 0, which is always run")
        if min(self.strengths, default=0.0) >= 0 or max(self.strengths) <= 0:
            raise ValueError(f"strengths {self.strengths}: a slope needs one below 0 and one above")
        for name in ("development", "test"):
            if getattr(self, name) == 1:
                raise ValueError(f"{name} 1: give at least 2 questions, or 0 to leave steering out")
        if self.crosscoder is not None and self.latent is None:
            raise ValueError(f"crosscoder {self.crosscoder}: name the --latent of it that steers")

    @property
    def asked(self) -> bool:
        """Whether answers are steered at all."""
        return bool(self.development and self.test)


@dataclass(frozen=True, kw_only=True, repr=False)
class HarmonicProbesConfig(ShortRepr):
    """Compare logistic with harmonic probes of frozen activations: accuracy, class centres, data needed, steering."""

    labels: tuple[str, ...] = ()
    """What is told: next_is_hesitation, whether the next word is one of hesitation; tone, whether an answer is sure or
    doubtful; problem_kind; behaviour, the kind of step, by labelled spans.
    Default: all that is known of the text; tone and problem_kind are known of the embedded pair's alone."""
    spans: Path | None = None
    """Labelled documents (.jsonl with text and spans, or annotated reasoning traces) to read instead of the embedded
    pair's; label behaviour is then the label of a token's span."""
    layers: tuple[int, ...] = ()
    """Layers at whose input probes are fitted; default: all."""
    layer: int | None = None
    """Layer whose centres are shown, and at whose input answers are steered; default: the pair's site, a middle
    layer."""
    exponent: Positive | None = None
    """Exponent of the harmonic loss in the distance d, twice that in the authors' code, which has it on d².
    Default: the square root of the models' width, or the width, whichever does better on held-out documents."""
    documents: Count = 600
    """Documents that are read, or all where there are fewer: shared out evenly to the draws, which fit, and to one more
    part, which tests."""
    tokens: Count = 250
    """Tokens of each class at most, on average over parts, to fit a draw's probes and again to test them."""
    draws: Count = 3
    """Draws of fitting documents, which share none: intervals hold what varies with them."""
    lattice_steps: CountOrNone = 1000
    """Training steps of the lattice task, which checks the harmonic loss; 0 leaves it out."""
    lattice_seeds: Count = 3
    """Initialisations of each network of the lattice task."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; default: the paper's categories.
    Its self-reflection words count as hesitation; where it has none, the shipped ones do."""
    seed: Seed = 0
    """Seed of every draw: documents, tokens, permutations, random directions, answers."""
    steering: CentreSteering = CentreSteering()
    output: FindingsOutput = FindingsOutput(out=Path("runs/harmonic_probes"))
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.spans is not None:
            object.__setattr__(self, "spans", Path(self.spans))  # Python may give a string
        if unknown := [name for name in self.labels if name not in LABELS]:
            raise ValueError(f"no label is called {unknown[0]!r}: choose from {', '.join(LABELS)}")
        for name in ("labels", "layers"):
            given = getattr(self, name)
            if len(set(given)) < len(given):
                raise ValueError(f"{name} {' '.join(map(str, given))}: give each once")
        if negative := [layer for layer in (*self.layers, self.layer or 0) if layer < 0]:
            raise ValueError(f"layer {negative[0]}: give a layer, from 0 on")
        if self.layers and self.layer is not None and self.layer not in self.layers:
            raise ValueError(f"layer {self.layer}: is none of --layers {' '.join(map(str, self.layers))}")

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("harmonic_probes", others=(RESULTS,))
