"""Models on NDIF: a trace becomes a job on a server that holds the weights."""

from dataclasses import dataclass
from typing import Literal

Wire = Literal["fp32", "bf16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Remote:
    """How jobs are sent to NDIF; host and key come from `NDIF_HOST` and `NDIF_API_KEY`, or nnsight's own config."""

    jobs: int = 4
    """Jobs in flight at once."""
    wire: Wire = "bf16"
    """Type in which activations are sent back; int8 has a scale per token."""
    deadline: float = 600.0
    """Seconds after which a job is given up and sent again."""
    attempts: int = 5
    """How often a job is sent before the run stops."""
