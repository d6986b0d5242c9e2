"""How much of all edges an attribution graph keeps: a part of settings."""

from dataclasses import dataclass

from toolkit.fields import ShortRepr
from toolkit.ranges import Count, ShareAboveZero, check_ranges


@dataclass(frozen=True, kw_only=True, repr=False)
class Limits(ShortRepr):
    """What an attribution graph keeps."""

    node_threshold: ShareAboveZero = 0.8
    """Keep the fewest latents that have this share of all latents' influence together."""
    edge_threshold: ShareAboveZero = 0.98
    """Keep the fewest edges that have this share of their kind's influence together; kinds are edges from latents or
    tokens, into latents or logits."""
    max_latents: Count = 2000
    """Follow the edges into this many latents at most, those of the most influence."""

    def __post_init__(self) -> None:
        check_ranges(self)
