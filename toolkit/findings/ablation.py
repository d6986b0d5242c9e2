"""What happens to a category's words when its latents are taken out of the models?"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from toolkit.interventions.ablation import Method, Positions
from toolkit.interventions.ablation_study import (
    AblationSettings,
    AblationStudy,
    ablation_study,
)
from toolkit.latents.categories import categories, load_lexicon
from toolkit.latents.firing import Place
from toolkit.latents.selection import Rule
from toolkit.runs.streams import open_mask, open_tokens
from toolkit.runs.subject import FindingsConfig, Subject

PAPER = {"positions": "prefix", "select": "quantile", "place": "token", "undecided": (0.0, 1.0)}


@dataclass(frozen=True, kw_only=True)
class AblationConfig(FindingsConfig):
    """Take a category's latents out of both models and measure its words' logits, against two controls."""

    out: Path = Path("runs/ablate")
    """Folder for the page, its figures and the JSON of results."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; default: self-reflection, deductive, alternative, contrastive."""
    tokens: int = 131_072
    """Held-out tokens to look for positions in; every other document chooses the latents, the rest test them."""
    targets: int = 100
    """Positions a category, drawn without replacement."""
    shares: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
    """Shares of the alive latents to take out."""
    reference: float = 0.02
    """The share that headline, histogram and matrix are about."""
    select: Rule = "lift"
    """How latents are chosen: lift, P(fire | category) / P(fire); rate, P(fire | category); or the paper's quantile."""
    place: Place = "predicting"
    """Where firings count for the choice: where the word is predicted, or on the word's token (the paper)."""
    min_nrn: float = 0.5
    """Only latents whose NRN is above this."""
    positions: Positions = "predict"
    """Where latents are taken out: at the predicting position, in the whole prefix (the paper), or all of it."""
    undecided: tuple[float, float] = (0.05, 0.9)
    """Only words to which the distilled model gives a probability in this range; 0 1 takes all."""
    paper: bool = False
    """The paper's protocol (quantile on the word's token, whole prefix, all occurrences, reconstruction spliced in),
    measured against the reconstruction without ablation."""
    control_draws: int = 3
    """Draws of each control, averaged position by position."""
    layer: int | None = None
    """Site to edit, for a crosscoder of several layers."""

    def settings(self) -> AblationSettings:
        """The study that is asked for."""
        chosen = {name: getattr(self, name) for name in PAPER} | (PAPER if self.paper else {})
        method = Method(positions=chosen.pop("positions"), spliced=self.paper, layer=self.layer)
        return AblationSettings(
            shares=self.shares, reference=self.reference, min_nrn=self.min_nrn, targets=self.targets,
            control_draws=self.control_draws, seed=self.seed, method=method, **chosen,
        )  # fmt: skip


def measure_ablation(config: AblationConfig, subject: Subject) -> AblationStudy:
    """Run the study on the subject's held-out text."""
    lexicon = categories(subject.pair.tokenizer, load_lexicon(config.lexicon))
    run = subject.config
    tokens = open_tokens(run, subject.pair, subject.corpus.held_out, batch_tokens=_batch_tokens(subject))
    batches = islice(tokens, max(1, config.tokens // _batch_tokens(subject)))
    mask = open_mask(run, subject.pair)
    return ablation_study(subject.pair, subject.crosscoder, batches, mask, lexicon, config.settings())


def _batch_tokens(subject: Subject) -> int:
    """Whole logits of half a batch are held at once, so with a large vocabulary a batch has few rows."""
    run = subject.config
    return max(2 * run.row_length, min(run.forward_tokens, 2**26 // subject.pair.vocab_size))
