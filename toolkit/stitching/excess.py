"""What it costs a model to go on from another model's stream: cross-entropy in excess of its own, and KL."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Excess:
    """Sums over each document's predictions of each kind; the kinds are those of `position_kinds.KINDS`."""

    tokens: Float[Tensor, "document kind"]
    """How many predictions."""
    loss: Float[Tensor, "document kind"]
    """Cross-entropy of the receiver as it is, in nats."""
    ce: Float[Tensor, "map document kind"]
    """Cross-entropy of the stitched receiver, less its own."""
    kl: Float[Tensor, "map document kind"]
    """KL(receiver ‖ stitched)."""
