"""A connection to NDIF: a trace becomes a job on a server that holds the weights, sent until it is done.

Non-blocking jobs over plain HTTP: nnsight's websocket has no deadline, and does not outlive a restart of the server.
"""

import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import CancelledError
from importlib.metadata import version
from typing import Any

import httpx
from nnsight.schema.request import RequestModel
from nnsight.schema.response import Status

from toolkit.models.places.ndif.address import KEY_PAGE, find_host, find_key
from toolkit.models.places.ndif.expected_answers import Form, largest, read_answer
from toolkit.models.places.ndif.hosting import hosted_models, listed, unreachable
from toolkit.models.places.ndif.in_flight import still_wanted
from toolkit.models.places.ndif.replies import REPLY_BYTES, TryAgainError, read_reply
from toolkit.models.places.ndif.transport import SLOWEST_CONNECTION, Answer, RemoteJobError, Transport
from toolkit.models.places.place import Traffic
from toolkit.models.where import Where
from toolkit.terminal_text import harmless, one_line

UPLOAD = 900_000
"""Bytes that one job sends at most, where it can be made that small: NDIF's servers have refused more than 1 MB."""
FIRST_POLL, SLOWEST_POLL, SLOWER = 0.01, 1.0, 1.25
MISSED_POLLS = 4


class RemoteCodeError(RemoteJobError, RuntimeError):
    """The job's own code failed on the server, and would fail again."""

    def __init__(self, message: str, told: str) -> None:
        super().__init__(message)
        self.told = told
        """The server's whole traceback."""


class Connection:
    """One model on one server. Any thread may send jobs, at the same time as others.

    Raises:
        ValueError: no key, a key or an address that is refused, a model that the server does not hold.
        RemoteJobError: a job failed `where.attempts` times, or what came back is not what was asked for.
        RemoteCodeError: the job's own code failed on the server.
        CancelledError: no caller waits for the job any more, so it is not sent again.
    """

    def __init__(self, source: str, where: Where) -> None:
        self.source, self.where, self.traffic = source, where, Traffic()
        self.host = find_host(where.insecure_host)
        self._key = find_key()
        self._lock = threading.Lock()
        self._transport = Transport(self.host)

    @property
    def host_name(self) -> str:
        """The server's name."""
        return self._transport.name

    def hosted(self) -> list[str] | None:
        """Models that the server says it has; None where it does not say.

        Raises `ValueError` for a host that cannot be reached.
        """
        try:
            return hosted_models(self._transport, min(self.where.deadline, SLOWEST_CONNECTION))
        except httpx.TransportError as error:
            raise unreachable(self.host_name, error) from None

    def run(self, envelope: RequestModel, payload: bytes, asked: Mapping[str, Form]) -> dict[str, Any]:
        """Send a job, again if need be, until it is done; return those of its saved values that `asked` names."""
        last = ""
        for attempt in range(self.where.attempts):
            if attempt:
                self._count(retries=1)
                time.sleep(self.where.deadline / 200 * 3 ** (attempt - 1))
            _check_wanted()
            try:
                return self._attempt(envelope, payload, asked)
            except (httpx.TransportError, TryAgainError) as error:
                last = self._said(error)
        raise RemoteJobError(
            f"a job for {self.source} failed {self.where.attempts} times on {self.host_name}; the last time: {last}"
        )

    def count_error(self, squared_error: float, square: float) -> None:
        """Add the squared error that the wire's type caused in the activations of one job, and their square."""
        self._count(squared_error=squared_error, square=square)

    def _attempt(self, envelope: RequestModel, payload: bytes, asked: Mapping[str, Form]) -> dict[str, Any]:
        ends = time.monotonic() + self.where.deadline
        address = self._wait(self._submit(envelope, payload, ends), ends)
        answer = self._transport.result(address, ends=ends, limit=largest(asked))
        self._count(received=len(answer.content))
        if answer.status != 200:
            raise TryAgainError(f"the result could not be fetched: {answer.status}")
        try:
            saved = read_answer(answer.content, asked)
        except OSError as error:
            raise TryAgainError(str(error)) from error
        except ValueError as error:
            raise RemoteJobError(
                f"{self.host_name} answered a job for {self.source} with something else than was asked for:"
                f" {self._said(error)}. Check NDIF_HOST, and that the server and this nnsight are of one version"
            ) from error
        self._count(jobs=1)
        return saved

    def _submit(self, envelope: RequestModel, payload: bytes, ends: float) -> str:
        files = {"blob": ("request", payload, "application/octet-stream")}
        headers = self._headers | {"nnsight-version": version("nnsight"), "python-version": sys.version}
        body = {"data": {"data": envelope.metadata()}, "files": files}
        answer = self._transport.ask("POST", "/request", ends=ends, limit=REPLY_BYTES, headers=headers, **body)
        self._count(sent=len(payload))
        if answer.status == 200:
            return read_reply(answer.text).job
        self._check_refusal(answer)
        if len(payload) > UPLOAD:
            remedy = "Some servers take no more than 1 MB: lower --forward-tokens or --row-length"
        else:
            remedy = "NDIF takes such jobs: check NDIF_HOST"
        raise ValueError(
            f"{self.host_name} refused a job of {len(payload):,} bytes with {self._named(answer)}. {remedy}"
        )

    def _check_refusal(self, answer: Answer) -> None:
        """Raise `TryAgainError` for a refusal that another try may get past, and `ValueError` for a refused key."""
        said = self._named(answer)
        if answer.status >= 500 or answer.status in (408, 425, 429):
            raise TryAgainError(f"the server answered {said}")
        if answer.status in (401, 403) or "API key" in said:
            raise ValueError(
                f"{self.host_name} refuses the key in NDIF_API_KEY (or nnsight's config): {said}. Get one at {KEY_PAGE}"
            )

    def _wait(self, job: str, ends: float) -> str:
        """Return the address of the job's result."""
        pause, missed, last = FIRST_POLL, 0, ""
        while time.monotonic() < ends:
            time.sleep(pause)
            _check_wanted()
            pause = min(SLOWEST_POLL, pause * SLOWER)
            try:
                answer = self._transport.ask(
                    "GET", f"/response/{job}", ends=ends, limit=REPLY_BYTES, headers=self._headers
                )
            except httpx.TransportError:
                missed += 1
                if missed == MISSED_POLLS:
                    raise
                continue
            if answer.status == 404 and last:
                raise TryAgainError("the server forgot the job")
            if answer.status in (401, 403):
                self._check_refusal(answer)
            if answer.status != 200:
                continue
            missed, reply = 0, read_reply(answer.text, job)
            if reply.status == Status.COMPLETED:
                return reply.address
            if reply.status == Status.ERROR:
                self._raise_failure(reply.description)
            last = reply.status
        seen = self._said(last) if last else "the server never mentioned it"
        raise TryAgainError(f"it was not done within {self.where.deadline:g} seconds (last seen: {seen})")

    def _raise_failure(self, description: str) -> None:
        if "Traceback (most recent call last)" in description:  # of the job's code; a rejection is a sentence
            told = harmless(description.replace(self._key, "(the key)")).strip()
            last = self._said(told.splitlines()[-1])
            raise RemoteCodeError(f"a job for {self.source} failed on {self.host_name}: {last}", told)
        said, hosted = self._said(description), self.hosted()
        if hosted is not None and self.source not in hosted:
            raise ValueError(f"{self.host_name} does not host {self.source}: {said} It hosts {listed(hosted)}")
        raise TryAgainError(f"the server said: {said}")

    @property
    def _headers(self) -> dict[str, str]:
        return {"ndif-api-key": self._key}

    def _named(self, answer: Answer) -> str:
        return f"{answer.status}: {self._said(answer.text)}"

    def _said(self, what: object) -> str:
        text = str(what) or type(what).__name__
        return one_line(text.replace(self._key, "(the key)"))

    def _count(self, **counts: int | float) -> None:
        with self._lock:
            for name, more in counts.items():
                setattr(self.traffic, name, getattr(self.traffic, name) + more)


def _check_wanted() -> None:
    if not still_wanted():
        raise CancelledError
