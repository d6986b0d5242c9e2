"""What it costs to ask a server: requests, tokens and money, before and after."""

from dataclasses import dataclass, fields

from toolkit.annotation.replies import Reply

CHARACTERS_A_TOKEN = 3
"""Prompts with passages of mathematics have 2.6 to 3.3 characters a token with a tokenizer of 49,000 tokens."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What was asked, as the server counts it."""

    requests: int = 0
    """Requests with a reply."""
    kept: int = 0
    """Replies that the cache held, for which the server was not asked."""
    tokens_in: int = 0
    """Tokens of prompts."""
    tokens_out: int = 0
    """Tokens of replies, their thinking among them."""
    uncounted: int = 0
    """Requests of which the server did not say the tokens."""

    @classmethod
    def of(cls, reply: Reply) -> "Usage":
        """Return what one reply took."""
        if reply.tokens_in is None or reply.tokens_out is None:
            return cls(requests=1, uncounted=1)
        return cls(requests=1, tokens_in=reply.tokens_in, tokens_out=reply.tokens_out)

    def __add__(self, other: "Usage") -> "Usage":
        names = [each.name for each in fields(Usage)]
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def cost(self, price_in: float, price_out: float) -> float:
        """Return what the tokens cost, at these prices of a million."""
        return (self.tokens_in * price_in + self.tokens_out * price_out) / 1e6


@dataclass(frozen=True, kw_only=True)
class Estimate(Usage):
    """What work would ask, before it is done; three characters are counted as a token."""

    most_tokens_out: int
    """Tokens of replies where each is as long as allowed: a model that thinks writes many more than `tokens_out`."""


def rough_tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    return -(-len(text) // CHARACTERS_A_TOKEN)
