"""What settings name of latents: where they are counted, how they are chosen, where they are taken out. Light."""

from dataclasses import dataclass
from typing import Literal

Place = Literal["predicting", "token"]
"""On the token itself, or on the one before it, where the model predicts it."""
Rule = Literal["lift", "rate", "quantile"]
"""lift: the largest P(fire | category) / P(fire); rate: the largest P(fire | category); quantile: the paper's rule,
counts at or above the (1 − share) quantile among latents that fired on the category."""
Positions = Literal["predict", "prefix", "all"]
"""predict: only where the word is predicted; prefix: every token up to there but the first; all: the first too."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """Where latents are taken out, and of what."""

    positions: Positions = "predict"
    """Where the latents are taken out."""
    spliced: bool = False
    """Take them out of the reconstruction, against the unablated reconstruction; else out of the stream itself."""
    layer: int | None = None
    """Site, for a crosscoder of several layers."""
