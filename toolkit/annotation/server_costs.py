"""What it costs to ask a server: requests, tokens and money, before and after."""

from dataclasses import dataclass


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
    """Replies of which the server did not say the tokens."""

    def cost(self, price_in: float, price_out: float) -> float:
        """The price at these prices of a million tokens."""
        return (self.tokens_in * price_in + self.tokens_out * price_out) / 1e6


@dataclass(frozen=True, kw_only=True)
class Estimate(Usage):
    """What work would ask, before it is done; tokens are counted as one for four characters."""

    most_tokens_out: int = 0
    """Tokens of replies where each is as long as allowed: a model that thinks writes many more than `tokens_out`."""
