"""HTTP to a server that may be slow, broken or hostile: every answer has a largest size and a latest end."""

import time
import weakref
from collections.abc import Mapping
from concurrent.futures import wait
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import httpx

from toolkit.models.places.ndif.address import is_here, may_hold_result
from toolkit.models.places.ndif.in_flight import in_background

HOPS = 3
ERROR_BYTES = 65_536
SLOWEST_CONNECTION = 10.0


class RemoteJobError(ConnectionError):
    """A job failed `Where.attempts` times, or its answer is not the expected one; what was read before is not lost."""


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    content: bytes
    """Content of the answer; of an error its first bytes."""
    location: str
    """Address that a redirection names."""

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode("utf-8", "replace")


class Transport:
    """Sends requests to one server and to the stores that it names; several threads may use it at the same time."""

    def __init__(self, host: str) -> None:
        self.host, self.name = host, urlsplit(host).hostname or host
        # A proxy that the environment names would see a key that is sent to this machine.
        trusts = not is_here(urlsplit(host))
        # Compressed content says nothing of its size before it is unpacked.
        headers = {"accept-encoding": "identity"}
        self._client = httpx.Client(
            limits=httpx.Limits(max_connections=None), headers=headers, trust_env=trusts, follow_redirects=False
        )
        weakref.finalize(self, self._client.close)

    def reach(self, seconds: float) -> None:
        """Raise `httpx.TransportError` unless a question has gone out within `seconds`; the answer is not awaited."""
        asked = Event()

        def note(event: str, _: object) -> None:
            if event.endswith("send_request_headers.complete"):  # after name, connection and certificate
                asked.set()

        ends, options = time.monotonic() + SLOWEST_CONNECTION, {"extensions": {"trace": note}}
        exchange = in_background(partial(self._exchange, "GET", f"{self.host}/status", ERROR_BYTES, ends, options))
        exchange.add_done_callback(lambda _: asked.set())
        if not asked.wait(seconds):
            raise httpx.ConnectTimeout(f"no connection within {seconds:g} seconds")
        if exchange.done():
            with suppress(RemoteJobError):
                exchange.result()

    def ask(
        self, method: str, path: str, *, ends: float, limit: int, headers: Mapping[str, str] | None = None, **body: Any
    ) -> Answer:
        """Ask the server itself; where it redirects, the answer is the redirection.

        `ends` is the monotonic time at which the asking is given up, `limit` the largest content in bytes.
        Raises `httpx.TransportError` for what another try may mend, `RemoteJobError` for content above the limit.
        """
        return self._within(ends, method, f"{self.host}{path}", limit, headers=dict(headers or {}), **body)

    def result(self, address: str, *, ends: float, limit: int) -> Answer:
        """Fetch a result, without the key, from where the server says it is; raises as `ask` does."""
        for _ in range(HOPS):
            if not may_hold_result(address, self.host):
                raise RemoteJobError(f"{self.name} says that a result is at {_shown(address)!r}, which is not asked")
            answer = self._within(ends, "GET", address, limit)
            if not answer.location:
                return answer
            address = urljoin(address, answer.location)
        raise RemoteJobError(f"a result of {self.name} was redirected {HOPS} times, last to {_shown(address)!r}")

    def _within(self, ends: float, method: str, url: str, limit: int, **options: Any) -> Answer:
        # In a thread: name look-ups, and headers that arrive byte by byte, have no deadline of their own.
        exchange = in_background(partial(self._exchange, method, url, limit, ends, options))
        if not wait([exchange], timeout=max(0.0, ends - time.monotonic())).done:
            raise httpx.ReadTimeout("no whole answer before the deadline")
        return exchange.result()

    def _exchange(self, method: str, url: str, limit: int, ends: float, options: dict[str, Any]) -> Answer:
        left = max(0.001, ends - time.monotonic())
        timeout = httpx.Timeout(min(left, 60.0), connect=min(left, SLOWEST_CONNECTION))
        with self._client.stream(method, url, timeout=timeout, **options) as response:
            fine, content = response.status_code == 200, bytearray()
            if response.headers.get("content-encoding", "identity") != "identity":
                raise RemoteJobError(f"{self.name} sends compressed content, which was not asked for")
            for chunk in response.iter_raw():
                content += chunk
                if fine and len(content) > limit:
                    raise RemoteJobError(f"{self.name} sends more than the {limit:,} bytes that were asked for")
                if not fine and len(content) > ERROR_BYTES:
                    break
                if time.monotonic() > ends:
                    raise httpx.ReadTimeout("no whole answer before the deadline")
            location = response.headers.get("location", "") if response.is_redirect else ""
        return Answer(response.status_code, bytes(content), location)


def _shown(address: str) -> str:
    """Return an address without the parts that may be secret, such as the signature in a store's address."""
    return address.rpartition("@")[2].partition("?")[0][:200]
