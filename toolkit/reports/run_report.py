"""What a run found, as plain data: all that the page, the figures and the console know of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from toolkit.reports.findings import Headline, Table
from toolkit.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """Everything that one run's report shows; arrays are numpy, one entry a latent.

    Raises ValueError where there is no training record.
    """

    title: str
    pair: str
    """The models, and the site where they were read."""
    data: str
    command: str
    """The command line that repeats the run."""
    load_pair: str
    """Python expression that loads the models: `ModelPair.from_pretrained("organism")`."""
    versions: Mapping[str, str]
    settings: Mapping[str, object]
    streams: tuple[str, ...]
    """Names of the entries of every record's `fve`."""
    headline: Sequence[Headline]
    firing_rate: Float[np.ndarray, "latent"]
    """Share of held-out tokens on which each latent fires."""
    alive: Bool[np.ndarray, "latent"]
    nrn: Float[np.ndarray, "latent"] | None = None
    """Normalised relative norm n_B / (n_A + n_B); None unless the run has exactly two models."""
    cosine: Float[np.ndarray, "latent"] | None = None
    """Cosine between each latent's two decoder rows; NaN where a row is zero."""
    cosine_null: Float[np.ndarray, "pair"] | None = None
    """The same between rows of different latents, drawn at random; NaN likewise."""
    nrn_mean: Estimate | None = None
    """Mean NRN over alive latents, and the ends of its 95 % interval."""
    records: Sequence[Mapping[str, Any]]
    """Training steps with `tokens`, `loss`, `fve` (one a stream), `l0` and `dead_share`."""
    masks: Mapping[str, int]
    """Tokens kept, then tokens dropped, by reason."""
    documents: str = ""
    """What became of the documents, in words."""
    seconds: Mapping[str, float]
    """Wall time of each stage."""
    behaviours: Table | None = None
    """The latent that best finds each planted behaviour, where there are any."""

    def __post_init__(self) -> None:
        if not self.records:
            raise ValueError("RunReport: records is empty; give at least one training step to draw its curves")
