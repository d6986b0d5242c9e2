"""A connection to NDIF: a trace becomes a job on a server that holds the weights, sent until it is done.

Non-blocking jobs over plain HTTP: nnsight's websocket has no deadline, and does not outlive a restart of the server.
"""

import io
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import httpx
import torch
from nnsight.intervention.backends.remote import RemoteBackend
from nnsight.schema.request import RequestModel
from nnsight.schema.response import ResponseModel, Status

from toolkit.models.in_flight import still_wanted
from toolkit.models.remote import KEY_PAGE, Remote, find_host, find_key
from toolkit.models.uploads import UPLOAD

WRITING = threading.Lock()
"""Held while a trace is made into a job, by whoever traces: Python 3.11 cannot parse source in two threads at once
(SystemError: AST constructor recursion depth mismatch). `RemoteTrace` lets go of it while the job runs."""
FIRST_POLL, SLOWEST_POLL, SLOWER = 0.01, 1.0, 1.25
MISSED_POLLS = 4


class RemoteJobError(ConnectionError):
    """A job failed as often as it may; what was read before it is not lost."""


class _TryAgainError(Exception):
    """A job failed in a way that another attempt may not."""


@dataclass
class Traffic:
    """What went over the wire."""

    jobs: int = 0
    """Jobs that were done."""
    retries: int = 0
    """Jobs that were sent again."""
    sent: int = 0
    """Bytes to the server."""
    received: int = 0
    """Bytes from the server."""
    squared_error: float = 0.0
    """Of all activations, by the wire's type."""
    square: float = 0.0
    """Of all activations: what the error is relative to."""

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    @property
    def wire_error(self) -> float:
        """Squared error of the activations that arrived, relative to their square."""
        return self.squared_error / self.square if self.square else 0.0


class Connection:
    """One model on one server. Any thread may send jobs, at the same time as others.

    Raises:
        ValueError: no key, a key or an address that the server refuses, a model that it does not hold.
        RemoteJobError: a job failed `remote.attempts` times.
        RuntimeError: the job's own code failed on the server.
        CancelledError: nobody waits for the job any more; it is not sent again.
    """

    def __init__(self, source: str, remote: Remote) -> None:
        self.source, self.remote, self.traffic = source, remote, Traffic()
        self.host = find_host()
        self._key = find_key()
        self._lock = threading.Lock()
        self._client = httpx.Client(
            timeout=httpx.Timeout(min(remote.deadline, 60.0), connect=min(remote.deadline, 10.0)),
            limits=httpx.Limits(max_connections=None),
        )
        weakref.finalize(self, self._client.close)

    @property
    def host_name(self) -> str:
        """The server's address without anything secret that the URL may hold."""
        return urlsplit(self.host).hostname or self.host

    def hosted(self) -> list[str] | None:
        """Models that the server says it has; None where it does not say.

        Raises `ValueError` for a host that cannot be reached.
        """
        try:
            answer = self._client.get(f"{self.host}/status")
        except httpx.TransportError as error:
            raise ValueError(
                f"no NDIF server at {self.host_name}: {self._said(error)}. Check NDIF_HOST and the network"
            ) from None
        try:
            return sorted({each["repo_id"] for each in answer.json()["deployments"].values()})
        except (ValueError, LookupError, TypeError, AttributeError):  # another answer than NDIF's
            return None

    def run(self, envelope: RequestModel, payload: bytes) -> dict[str, Any]:
        """Send a job until it is done, and return what it saved."""
        last = ""
        for attempt in range(self.remote.attempts):
            if attempt:
                self._count(retries=1)
                time.sleep(self.remote.deadline / 200 * 3 ** (attempt - 1))
            _check_wanted()
            try:
                return self._attempt(envelope, payload)
            except (httpx.TransportError, _TryAgainError) as error:
                last = self._said(error)
        raise RemoteJobError(
            f"a job for {self.source} failed {self.remote.attempts} times on {self.host_name}; the last time: {last}"
        )

    def count_error(self, squared_error: float, square: float) -> None:
        """Take in what the wire's type cost the activations of one job."""
        self._count(squared_error=squared_error, square=square)

    def _attempt(self, envelope: RequestModel, payload: bytes) -> dict[str, Any]:
        ends = time.monotonic() + self.remote.deadline
        url = self._wait(self._submit(envelope, payload), ends)
        answer = self._client.get(url, follow_redirects=True)  # without the key: it is not for an object store
        content = answer.content
        self._count(received=len(content))
        if answer.status_code != 200:
            raise _TryAgainError(f"the result could not be had: {answer.status_code}")
        try:
            saved: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load has no class of error for a damaged file
            raise _TryAgainError(f"the result of {len(content):,} bytes is damaged: {error}") from error
        self._count(jobs=1)
        return saved

    def _submit(self, envelope: RequestModel, payload: bytes) -> str:
        files = {"blob": ("request", payload, "application/octet-stream")}
        about = {"nnsight-version": version("nnsight"), "python-version": sys.version}
        answer = self._client.post(
            f"{self.host}/request", data={"data": envelope.metadata()}, files=files, headers=self._headers | about
        )
        self._count(sent=len(payload))
        if answer.status_code == 200:
            return _parse(answer).id
        said = f"{answer.status_code}: {self._said(answer.text)}"
        if answer.status_code >= 500 or answer.status_code in (408, 425, 429):
            raise _TryAgainError(f"the server answered {said}")
        if answer.status_code in (401, 403) or "API key" in said:
            raise ValueError(
                f"{self.host_name} refuses the key in NDIF_API_KEY (or nnsight's config): {said}. Get one at {KEY_PAGE}"
            )
        if len(payload) > UPLOAD:
            remedy = "Some servers take no more than 1 MB: lower --forward-tokens or --row-length"
        else:
            remedy = "NDIF takes such jobs: check NDIF_HOST"
        raise ValueError(f"{self.host_name} refused a job of {len(payload):,} bytes with {said}. {remedy}")

    def _wait(self, job: str, ends: float) -> str:
        """Return the address of the job's result."""
        pause, missed, last = FIRST_POLL, 0, "it was never heard of"
        while time.monotonic() < ends:
            time.sleep(pause)
            _check_wanted()
            pause = min(SLOWEST_POLL, pause * SLOWER)
            try:
                answer = self._client.get(f"{self.host}/response/{job}", headers=self._headers)
            except httpx.TransportError:
                missed += 1
                if missed == MISSED_POLLS:
                    raise
                continue
            if answer.status_code == 404 and not last.startswith("it was"):
                raise _TryAgainError("the server forgot the job")
            if answer.status_code != 200:
                continue
            missed, response = 0, _parse(answer)
            if response.status == Status.COMPLETED and response.data:
                return str(response.data)
            if response.status == Status.ERROR:
                self._raise_failure(response.description)
            last = response.status.value
        raise _TryAgainError(f"it was not done within {self.remote.deadline:g} seconds (last seen: {last})")

    def _raise_failure(self, description: str) -> None:
        said = self._said(description)
        if "Traceback (most recent call last)" in said:  # of the job's code; what the server rejects is a sentence
            raise RuntimeError(f"a job for {self.source} failed on {self.host_name}:\n{said}")
        hosted = self.hosted()
        if hosted is not None and self.source not in hosted:
            listed = ", ".join(hosted) or "no model at all"
            raise ValueError(f"{self.host_name} does not host {self.source}: {said} It hosts {listed}")
        raise _TryAgainError(f"the server said: {said}")

    @property
    def _headers(self) -> dict[str, str]:
        return {"ndif-api-key": self._key}

    def _said(self, what: object) -> str:
        text = str(what) or type(what).__name__
        return text.replace(self._key, "(the key)").strip()

    def _count(self, **counts: int | float) -> None:
        with self._lock:
            for name, more in counts.items():
                setattr(self.traffic, name, getattr(self.traffic, name) + more)


class RemoteTrace(RemoteBackend):
    """Runs one trace as a job, and gives its saved values to the caller's frame, as a trace here does.

    Whoever traces holds `WRITING`.
    """

    def __init__(self, model_key: str, connection: Connection) -> None:
        super().__init__(model_key, host=connection.host, api_key="kept in the connection")
        self._connection = connection

    def __call__(self, tracer: Any = None) -> dict[str, Any]:
        """Send the trace, wait for its end, and return what it saved."""
        # Not `_serialize`: that ships every module of the working directory. And not compressed: activations hardly
        # shrink, and take longer to compress than to send.
        payload = RequestModel.serialize(tracer, compress=False)
        envelope = RequestModel(model_key=self.model_key, compress=False)
        WRITING.release()
        try:
            saved = self._connection.run(envelope, payload)
        finally:
            WRITING.acquire()
        self._push(saved, tracer)
        return saved


def _check_wanted() -> None:
    if not still_wanted():
        raise CancelledError


def _parse(answer: httpx.Response) -> ResponseModel:
    try:
        return ResponseModel.model_validate_json(answer.text)
    except ValueError as error:  # pydantic's is one
        raise _TryAgainError("the server's answer cannot be read") from error
