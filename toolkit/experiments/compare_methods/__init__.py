"""Which method finds what distillation planted?"""

from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import RESULTS_FILE, Claim, OutputFolder
from toolkit.ranges import Count, CountOrNone, Positive, Seed, check_ranges
from toolkit.settings.findings import FindingsOutput, TextChoice
from toolkit.settings.models import ControlledModels

RESULTS = Claim(files=(RESULTS_FILE,), signs={RESULTS_FILE: ("methods", "floor", "ceiling")})


@dataclass(frozen=True, kw_only=True, repr=False)
class CompareMethodsConfig(ShortRepr):
    """Set crosscoders, autoencoders and simpler ways to compare models against labels, a random floor and a probe."""

    tokens: Count = 65_536
    """Tokens that every method is given to train on, of each pair; they are held in memory."""
    documents: Count = 256
    """Labelled documents: units are chosen on the even ones and tested on the odd ones."""
    labels: Path | None = None
    """Labelled documents (.jsonl with text and spans, or annotated reasoning traces).
    Default: the embedded pair's held-out answers, whose labels are known token by token."""
    n_latents: tuple[Count, ...] = (384, 768)
    """Sizes of dictionaries; each dictionary is tried with every size and every sparsity."""
    k: tuple[Count, ...] = (12, 48)
    """Latents kept per token by topk, on average by batchtopk."""
    l1_coefficient: tuple[Positive, ...] = (0.3, 1.0)
    """Weights λ of the l1 penalty."""
    jumprelu_threshold: tuple[Positive, ...] = (0.1, 1.0)
    """Thresholds that jumprelu starts from, and the widths of their windows: short runs move them little."""
    seeds: Count = 3
    """Dictionaries of each method, from as many initial weights; the first one alone decides size and sparsity."""
    draws: Count = 10
    """Random dictionaries of each kind that make the floor."""
    targets: CountOrNone = 48
    """Positions before a behaviour begins at which directions are taken out, of each behaviour; 0 leaves it out."""
    prompts: CountOrNone = 8
    """Texts that are continued while a direction is added; 0 leaves it out."""
    new_tokens: Count = 96
    """Tokens that are written on each of them."""
    seed: Seed = 0
    """Seed of every draw: text, first initial weights, random directions."""
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/compare_methods"))
    models: ControlledModels = ControlledModels()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        swept = (self.n_latents, self.k, self.l1_coefficient, self.jumprelu_threshold)
        if not all(swept):
            raise ValueError(
                "a dictionary needs a size and a sparsity: give n_latents, k, l1_coefficient and jumprelu_threshold"
            )
        if max(self.k) > min(self.n_latents):
            raise ValueError(
                f"k {max(self.k)} is more than n_latents {min(self.n_latents)}: every size is tried with every k;"
                " lower k or raise n_latents"
            )

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("compare_methods", others=(RESULTS,))
