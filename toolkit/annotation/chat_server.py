"""A model on a server that may be busy, broken or gone: so many requests at once, tries, pauses, and a first check."""

import random
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from difflib import get_close_matches
from threading import BoundedSemaphore
from typing import NoReturn

from toolkit.annotation.labels import Unscored
from toolkit.annotation.replies import Reply
from toolkit.annotation.server_choice import ServerChoice
from toolkit.annotation.server_connection import STRANGE, Refusal, ServerConnection
from toolkit.formatting import duration
from toolkit.models.places.ndif.in_flight import still_wanted

FIRST_PAUSE, SLOWER, SLOWEST_PAUSE = 1.0, 2.0, 60.0
SHOWN = 5
TRIAL, TRIAL_TOKENS = "Reply with the digit 1.", 16
KEPT = "The replies so far are kept: give the same command again"


class ChatServer:
    """One model on one server; any number of threads may ask, and `choice.requests` of them are heard at once."""

    def __init__(
        self, choice: ServerChoice, *, key: str | None = None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """`key` is by default the one in OPENAI_API_KEY; `pause` waits for so many seconds between two tries.

        Raises `ValueError` for an address or a key of another form, and where the package openai is missing.
        """
        self._choice, self._pause, self._model = choice, pause, choice.model or ""
        self._connection = ServerConnection(choice.base_url or "", key=key, reply_seconds=choice.reply_seconds)
        self.address = self._connection.address
        self._turns = BoundedSemaphore(choice.requests)
        self._end: str | None = None

    def ask(self, prompt: str) -> Reply | Unscored:
        """Return the reply to one message of a user's.

        Raises `ValueError` where no other request would have a reply either: the server is gone, it refuses the key, or
        it wants to be left alone for longer than `choice.reply_seconds`.
        """
        found = self._tried(prompt, self._choice.reply_tokens)
        if isinstance(found, Reply):
            return found
        if found.gone:
            self._stop(f"no server answers at {self.address} any more ({found.said}). {KEPT}, once it is back")
        if found.status in (401, 402):
            self._stop(f"{self._about_the_key(found)}. {KEPT}, once that is put right")
        return Unscored(reason=found.reason)

    def check(self) -> None:
        """Ask for the server's models, and for one short reply.

        Raises `ValueError` where the server is not there, speaks another protocol, refuses the key, does not serve the
        model, or does not reply.
        """
        models = self._connection.models()
        if isinstance(models, Refusal):
            if models.status != 403:  # OpenAI has keys for chats alone
                self._check_reached(models)
        elif models and not self._is_served(models):
            near = list(dict.fromkeys((*get_close_matches(self._model, models, SHOWN, 0.4), *sorted(models))))
            more = f" and {len(near) - SHOWN} more" if len(near) > SHOWN else ""
            raise ValueError(
                f"{self.address} has no model {self._model!r}: give --model one of {', '.join(near[:SHOWN])}{more}"
            )
        found = self._tried(TRIAL, TRIAL_TOKENS)
        if isinstance(found, Refusal):
            self._check_reached(found)
            if found.status == 404:
                raise ValueError(
                    f"{self.address} has no model {self._model!r}, or no chat completions ({found.said}): give another"
                    " --model, or an address that ends in /v1"
                )
            raise ValueError(f"{self.address} did not reply to a first, short request ({found.said}): {found.reason}")

    def _check_reached(self, refusal: Refusal) -> None:
        """Raise `ValueError` where no server of this protocol is there, or it refuses the key."""
        if refusal.status is None and refusal.reason != STRANGE:
            raise ValueError(
                f"no server answers at {self.address} ({refusal.said}): start it, or give another --base-url"
            )
        if refusal.status in (401, 402, 403):
            raise ValueError(self._about_the_key(refusal))
        if refusal.reason == STRANGE:
            raise ValueError(
                f"{self.address} is no OpenAI-compatible server ({refusal.said}): the address of most ends in /v1"
            )

    def _about_the_key(self, refusal: Refusal) -> str:
        if refusal.status == 402:
            return f"the account of this key at {self.address} has no credit ({refusal.said})"
        if self._connection.key_is_withheld:
            return (
                f"{self.address} wants a key ({refusal.said}), which over plain http anyone on the way could read: give"
                " an address with https://, or a tunnel to it on this machine"
            )
        if self._connection.has_key:
            return f"{self.address} refuses the key in OPENAI_API_KEY ({refusal.said}): export the right one"
        return f"{self.address} wants a key ({refusal.said}): export OPENAI_API_KEY=…"

    def _is_served(self, models: list[str]) -> bool:
        # ollama serves `name` where it lists `name:latest`, OpenRouter `name:variant` where it lists `name`.
        return not {self._model, f"{self._model}:latest", self._model.rpartition(":")[0]}.isdisjoint(models)

    def _tried(self, prompt: str, reply_tokens: int) -> Reply | Refusal:
        """Send a request until it has a reply, for as often as allowed; return what came of the last try."""
        for trial in range(1, self._choice.tries + 1):
            self._check_going_on()
            with self._turns:
                found = self._connection.send(
                    self._model, prompt, temperature=self._choice.temperature, reply_tokens=reply_tokens
                )
            if isinstance(found, Reply) or not found.passing or trial == self._choice.tries:
                break
            if found.wait > self._choice.reply_seconds:
                self._stop(f"{self.address} wants no request for {duration(found.wait)} ({found.said}). {KEPT} then")
            # Chance keeps threads from trying again all at the same moment.
            backoff = min(SLOWEST_PAUSE, FIRST_PAUSE * SLOWER ** (trial - 1)) * random.uniform(0.5, 1)
            self._pause(max(found.wait, backoff))
        return found

    def _check_going_on(self) -> None:
        if self._end is not None:
            raise ValueError(self._end)
        if not still_wanted():
            raise CancelledError

    def _stop(self, why: str) -> NoReturn:
        """Let no thread ask any more."""
        self._end = why
        raise ValueError(why)
