"""The annotator that asks a language model on an OpenAI-compatible server."""

from collections.abc import Callable, Sequence
from pathlib import Path

from toolkit.annotation.evidence import Evidence, Passage
from toolkit.annotation.labels import Annotator, Label, Unscored
from toolkit.annotation.server_choice import ServerChoice
from toolkit.annotation.server_costs import Estimate, Usage


class ServerAnnotator:
    """Annotates latents by asking a language model; every reply is kept in a file, and asked for once.

    Any number of threads may call; `choice.requests` says how many requests the server gets at the same time.
    """

    def __init__(self, choice: ServerChoice, cache: Path, *, key: str | None = None) -> None:
        """`cache` is the file of replies, made if need be; `key` is by default the one in OPENAI_API_KEY.

        Raises `ValueError` for an address or a key of another form, and where the package openai is missing.
        """
        self.name = f"{choice.model}"

    def check(self) -> None:
        """Ask the server once; raises `ValueError` unless it is there, takes the key and serves the model."""
        raise NotImplementedError

    def explain(self, evidence: Evidence) -> Label | Unscored:
        """Label a latent from its passages to explain and the tokens that it promotes."""
        raise NotImplementedError

    def detect(self, explanation: str, passages: Sequence[Passage]) -> list[bool] | Unscored:
        """Tell in which of the passages, all in one prompt, a latent of this explanation fires."""
        raise NotImplementedError

    def fuzz(self, explanation: str, marked: Sequence[tuple[Passage, frozenset[int]]]) -> list[bool] | Unscored:
        """Tell for each passage, all in one prompt, whether the marked tokens are those that fire."""
        raise NotImplementedError

    def estimate(self, work: Callable[[Annotator], object]) -> Estimate:
        """Count the requests that `work` would make, by doing it with an annotator that sends none.

        That annotator gives the replies that the cache holds, and stand-ins for the others.
        """
        raise NotImplementedError

    @property
    def usage(self) -> Usage:
        """The requests made so far, and their tokens."""
        raise NotImplementedError
