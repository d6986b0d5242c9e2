"""What happens to a category's words when its latents are taken out of the models?"""

from dataclasses import dataclass, field, fields, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import tyro

from toolkit.experiments.ablation.study import (
    AblationSettings,
    AblationStudy,
    ablation_study,
)
from toolkit.experiments.run import FindingsConfig, Subject
from toolkit.interventions.ablation import Method, Positions
from toolkit.latents.categories import categories, load_lexicon
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.ranges import Count, check_ranges
from toolkit.training.streams import fitting_tokens, open_tokens

PAPER: dict[str, Any] = {"positions": "prefix", "select": "quantile", "place": "token", "undecided": (0.0, 1.0)}


@dataclass(frozen=True, kw_only=True)
class AblationConfig(AblationSettings, FindingsConfig):
    """Take a category's latents out of both models and measure its words' logits, against two controls."""

    FINDINGS = ("ablation",)
    out: Path = Path("runs/ablate")
    """Folder for the page, its figures and the JSON of results."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; default: self-reflection, deductive, alternative, contrastive."""
    tokens: Count = 131_072
    """Held-out tokens to look for positions in; every other document chooses the latents, the rest test them."""
    positions: Positions = "predict"
    """Where latents are taken out: at the predicting position, in the whole prefix (the paper), or all of it."""
    paper: bool = False
    """The paper's protocol: quantile on the word's token, whole prefix, all occurrences, reconstruction spliced in.
    It measures against the reconstruction without ablation."""
    method: Annotated[Method, tyro.conf.Suppress] = field(default_factory=Method)
    """Follows from positions, paper and layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self)
        defaults = {each.name: each.default for each in fields(self)}
        for name, value in PAPER.items() if self.paper else ():
            if getattr(self, name) not in (value, defaults[name]):
                raise ValueError(f"--paper sets --{name} to {value}, and {getattr(self, name)} is given: leave one out")

    def settings(self) -> AblationSettings:
        """The study that is asked for."""
        asked = {each.name: getattr(self, each.name) for each in fields(AblationSettings)}
        asked |= {"positions": self.positions} | (PAPER if self.paper else {})
        method = Method(positions=asked.pop("positions"), spliced=self.paper)
        return AblationSettings(**asked | {"method": method})


def measure_ablation(config: AblationConfig, subject: Subject) -> AblationStudy:
    """Run the study on the subject's text."""
    lexicon = categories(subject.pair.tokenizer, load_lexicon(config.lexicon))
    run = subject.config
    # Whole logits of every other row are held at once, so with a large vocabulary a batch has few rows.
    batch_tokens = fitting_tokens(run, LARGEST_LOGITS, subject.pair.vocab_size, rows=2)
    tokens = open_tokens(run, subject.pair, subject.corpus.held_out, batch_tokens=batch_tokens)
    batches = islice(tokens, max(1, config.tokens // batch_tokens))
    mask = subject.open_mask()
    settings = config.settings()
    settings = replace(settings, method=replace(settings.method, layer=subject.layer))
    return ablation_study(subject.pair, subject.crosscoder, batches, mask, lexicon, settings)
