"""Which server annotates latents, and how it is asked: settings, which import nothing heavy."""

from dataclasses import dataclass, field

from toolkit.fields import BESIDE_RESULT, ShortRepr
from toolkit.ranges import Count, Positive, PositiveOrNone, check_ranges


@dataclass(frozen=True, kw_only=True, repr=False)
class ServerChoice(ShortRepr):
    """A server that speaks OpenAI's protocol of chat completions, a model of its, and how it is asked."""

    base_url: str | None = None
    """Address of an OpenAI-compatible server, such as http://localhost:8000/v1; by default none is asked.
    OPENAI_API_KEY holds the key, where the server wants one."""
    model: str | None = None
    """Name of the model, as the server lists it."""
    temperature: PositiveOrNone = 0.0
    """Temperature at which replies are drawn; 0 takes the likeliest tokens."""
    reply_tokens: Count = 4096
    """Tokens after which a reply is cut, its thinking among them."""
    requests: Count = field(default=8, metadata=BESIDE_RESULT)
    """Requests that the server is sent at the same time."""
    tries: Count = field(default=8, metadata=BESIDE_RESULT)
    """How often a request is sent while the server is busy, fails or does not answer; the pauses between grow."""
    reply_seconds: Positive = field(default=600.0, metadata=BESIDE_RESULT)
    """Seconds after which a request without a reply is sent again."""
    price_in: PositiveOrNone | None = field(default=None, metadata=BESIDE_RESULT)
    """Price of a million tokens of prompts, in any currency, to estimate the cost."""
    price_out: PositiveOrNone | None = field(default=None, metadata=BESIDE_RESULT)
    """Price of a million tokens of replies."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if (self.base_url is None) != (self.model is None):
            given, missing = ("base_url", "model") if self.model is None else ("model", "base_url")
            raise ValueError(f"{given} {getattr(self, given)!r}: needs {missing} too")
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("price_in and price_out: give both, or neither")
