"""One request to a server that speaks OpenAI's protocol, and what came of it; the only module that knows openai."""

import math
import os
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import Any
from urllib.parse import SplitResult, urlsplit

from toolkit.annotation.replies import Reply, read_completion
from toolkit.models.places.ndif.address import is_here

CONNECTING = 10.0
LONGEST_WORDS = 200
BUSY = "the server was too busy"
FAILED = "the server failed"
LATE = "the server did not reply in time"
STRANGE = "what the server sent is no chat completion"
PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
"""Statuses that another try may get past."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a request has no reply."""

    reason: str
    """Of what kind the refusal is."""
    said: str
    """What the server, or the network, said of it, in one line without the key."""
    status: int | None = None
    """Status of the answer; None where there was none."""
    passing: bool = False
    """Whether another try may get past it."""
    gone: bool = False
    """Whether no server answered at all."""
    wait: float = 0.0
    """Seconds that the server wants to be left alone."""


class ServerConnection:
    """The connection to one server; any number of threads may use it."""

    def __init__(self, base_url: str, *, key: str | None = None, reply_seconds: float = 600.0) -> None:
        """`key` is by default the one in OPENAI_API_KEY, which goes over https or to this machine alone.

        Raises `ValueError` for an address or a key of another form, and where the package openai is missing.
        """
        parts = _checked_address(base_url)
        if find_spec("openai") is None:
            raise ValueError("a server needs the package openai: pip install 'distillation-crosscoders[annotate]'")
        import openai

        self.address = parts.geturl().rstrip("/")
        found = _checked_key(os.environ.get("OPENAI_API_KEY", "") if key is None else key)
        self.key_is_withheld = bool(found) and key is None and parts.scheme == "http" and not is_here(parts)
        self._key = "" if self.key_is_withheld else found
        self._client = openai.OpenAI(
            base_url=self.address,
            api_key=self._key or "none",  # the package takes no empty key
            max_retries=0,
            timeout=openai.Timeout(reply_seconds, connect=min(CONNECTING, reply_seconds)),
            # A proxy that the environment names would see a key that is sent to this machine.
            http_client=openai.DefaultHttpxClient(trust_env=not is_here(parts)),
        )
        # At the program's end nothing is closed: threads that still wait for a reply would wake in the midst of it.
        weakref.finalize(self, self._client.close).atexit = False
        self._limit = "max_tokens"

    @property
    def has_key(self) -> bool:
        """Whether requests carry a key."""
        return bool(self._key)

    def models(self) -> list[str] | Refusal:
        """Return the names of the server's models."""
        listed = self._asked("GET", "/models", None)
        if isinstance(listed, Refusal):
            return listed
        models = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(models, list):
            return Refusal(reason=STRANGE, said=self._one_line(str(listed)))
        return [str(each["id"]) for each in models if isinstance(each, dict) and "id" in each]

    def send(self, model: str, prompt: str, *, temperature: float, reply_tokens: int) -> Reply | Refusal:
        """Ask a model one thing, as a user's message."""
        limit = self._limit
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "temperature": temperature}
        sent = self._asked("POST", "/chat/completions", body | {limit: reply_tokens})
        if isinstance(sent, Refusal):
            if sent.status == 400 and limit == "max_tokens" and "max_completion_tokens" in sent.said:
                self._limit = "max_completion_tokens"  # OpenAI's models that think know the limit by this name alone
                return self.send(model, prompt, temperature=temperature, reply_tokens=reply_tokens)
            return sent
        reply = read_completion(sent)
        return Refusal(reason=STRANGE, said=self._one_line(str(sent)), passing=True) if reply is None else reply

    def _asked(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        """Return the JSON that the server answers, or its text where that is none, or a refusal."""
        import openai

        try:
            if method == "GET":
                return self._client.get(path, cast_to=object)
            return self._client.post(path, cast_to=object, body=body)
        except openai.APITimeoutError:
            return Refusal(reason=LATE, said="no answer in time", passing=True)
        except openai.APIConnectionError as error:
            return Refusal(reason=FAILED, said=self._one_line(_cause(error)), passing=True, gone=True)
        except openai.APIStatusError as error:
            return self._refused(error)
        except ValueError as error:  # an answer that says it is JSON, and is not
            return Refusal(reason=STRANGE, said=self._one_line(str(error)), passing=True)

    def _refused(self, error: Any) -> Refusal:
        status, code = error.status_code, error.code
        if status in PASSING and code != "insufficient_quota":  # an account without credit, which waiting does not fill
            reason = BUSY if status == 429 else FAILED
            return Refusal(
                reason=reason,
                said=self._one_line(error.message),
                status=status,
                passing=True,
                wait=_wanted_pause(error.response.headers.get("retry-after", "")),
            )
        return Refusal(
            reason=f"the server refused the request: {code or status}",
            said=self._one_line(error.message),
            status=402 if code == "insufficient_quota" else status,
        )

    def _one_line(self, text: str) -> str:
        hidden = text.replace(self._key, "…") if self._key else text
        words = " ".join(hidden.split())
        return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}…"


def _checked_address(base_url: str) -> SplitResult:
    shown = f"base_url {base_url.rpartition('@')[2].partition('?')[0]!r}"  # the rest may be secret
    try:
        parts = urlsplit(base_url.strip())
        right = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        right = False
    if not right:
        raise ValueError(f"{shown}: must be the address of a server, such as http://localhost:8000/v1")
    if parts.username is not None:
        raise ValueError(f"{shown}: must not hold a user name or a password: give the key in OPENAI_API_KEY")
    return parts


def _checked_key(key: str) -> str:
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("the key in OPENAI_API_KEY holds characters that no key has: copy it again")
    return key


def _wanted_pause(retry_after: str) -> float:
    """Read the header Retry-After: seconds or a date; 0 for anything else."""
    with suppress(ValueError):
        seconds = float(retry_after)
        return seconds if 0 < seconds < math.inf else 0.0
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    return 0.0


def _cause(error: BaseException) -> str:
    """Return what the network said, which stands at the root of the package's own errors."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return str(error) or type(error).__name__
