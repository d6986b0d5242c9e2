"""The options of latents in settings: where they are counted, how chosen, where ablated. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal

HESITATION = "self-reflection"
"""The category whose words count as hesitation."""
Place = Literal["predicting", "token"]
"""Where firing is counted: on the category's token itself, or on the token before, where the model predicts it."""
Rule = Literal["lift", "rate", "quantile"]
"""How latents are chosen.

lift: the largest P(fire | category) / P(fire); rate: the largest P(fire | category); quantile: the paper's rule,
counts at or above the (1 − share) quantile among latents that fired on the category."""
Positions = Literal["predict", "prefix", "all"]
"""Where latents are ablated.

predict: only where the word is predicted; prefix: every token up to there but the first; all: the first too."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """How latents are ablated: at which tokens, and in the stream or in its reconstruction."""

    positions: Positions = "predict"
    """The tokens at which the latents are ablated."""
    spliced: bool = False
    """Ablate in the reconstruction, and compare with the whole reconstruction; if false, ablate in the stream."""
    layer: int | None = None
    """The site to ablate at, for a crosscoder of several layers."""
