"""The annotator that asks a language model on an OpenAI-compatible server."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from toolkit.annotation.chat_server import ChatServer
from toolkit.annotation.labels import Annotator, Unscored
from toolkit.annotation.prompted import PromptedAnnotator
from toolkit.annotation.replies import Reply
from toolkit.annotation.reply_cache import ReplyCache
from toolkit.annotation.server_choice import ServerChoice
from toolkit.annotation.server_costs import Estimate, Usage, rough_tokens


class ServerAnnotator(PromptedAnnotator):
    """Annotates latents by asking a language model; every reply is kept in a file, and not asked for again.

    Any number of threads may call; `choice.requests` says how many requests the server gets at the same time.
    """

    def __init__(
        self, choice: ServerChoice, cache: Path, *, key: str | None = None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """`cache` is the file of replies, made if need be; `key` is by default the one in OPENAI_API_KEY.

        `pause` waits for so many seconds between two tries of a request.
        Raises `ValueError` for an address or a key of another form, and where the package openai is missing.
        """
        self.name = choice.model or ""
        self._choice, self._server = choice, ChatServer(choice, key=key, pause=pause)
        self._cache, self._lock, self._usage = ReplyCache(cache), Lock(), Usage()

    def check(self) -> None:
        """Ask the server once; raises `ValueError` unless it is there, takes the key and serves the model."""
        self._server.check()

    @property
    def usage(self) -> Usage:
        """What was asked so far, without the first check."""
        return self._usage

    def estimate(self, work: Callable[[Annotator], object]) -> Estimate:
        """Count what `work` would ask, by doing it with an annotator that asks no server.

        That annotator's replies are those of the cache, and stand-ins where it holds none.
        """
        rehearsal = Rehearsal(self.name, self._kept)
        work(rehearsal)
        expected = rehearsal.usage
        return Estimate(**asdict(expected), most_tokens_out=expected.requests * self._choice.reply_tokens)

    def _kept(self, prompt: str) -> Reply | None:
        """Return the reply to a prompt that the cache holds."""
        found = self._cache.get(self._request(prompt))
        return None if found is None else Reply(**found)

    def _reply(self, prompt: str, typical: str) -> Reply | Unscored:
        if (kept := self._kept(prompt)) is not None:
            self._count(Usage(kept=1))
            return kept
        reply = self._server.ask(prompt)
        if isinstance(reply, Reply):
            self._cache.put(self._request(prompt), asdict(reply))
            self._count(Usage.of(reply))
        return reply

    def _request(self, prompt: str) -> dict[str, Any]:
        """All that decides a reply."""
        return {
            "base_url": self._server.address,
            "model": self._choice.model,
            "temperature": self._choice.temperature,
            "reply_tokens": self._choice.reply_tokens,
            "prompt": prompt,
        }

    def _count(self, usage: Usage) -> None:
        with self._lock:
            self._usage += usage


class Rehearsal(PromptedAnnotator):
    """Counts what a server would be asked, and asks none."""

    def __init__(self, name: str, kept: Callable[[str], Reply | None]) -> None:
        self.name, self.usage = name, Usage()
        self._kept, self._lock = kept, Lock()

    def _reply(self, prompt: str, typical: str) -> Reply:
        kept = self._kept(prompt)
        asked = Usage(requests=1, tokens_in=rough_tokens(prompt), tokens_out=rough_tokens(typical))
        with self._lock:
            self.usage += asked if kept is None else Usage(kept=1)
        return kept or Reply(content=typical, ended="stop")
