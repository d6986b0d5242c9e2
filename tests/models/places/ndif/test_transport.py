"""A server that is slow, broken or hostile costs a known time and a known memory, and learns nothing."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
import pytest

from toolkit.models.places.ndif.hosting import hosted_models
from toolkit.models.places.ndif.transport import RemoteJobError, Transport

Serve = Callable[..., tuple[str, list[bytes]]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that sends these pieces to whoever asks; its address, and what it was asked."""
    sockets: list[socket.socket] = []

    def start(*pieces: bytes, again: bytes = b"", pause: float = 0.0) -> tuple[str, list[bytes]]:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)
        asked: list[bytes] = []

        def answer(client: socket.socket) -> None:
            with client, suppress(OSError):
                asked.append(client.recv(65_536))
                for piece in itertools.chain(pieces, itertools.repeat(again) if again else ()):
                    client.sendall(piece)
                    time.sleep(pause)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=[listening.accept()[0]], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}", asked

    yield start
    for each in sockets:
        each.close()


def head(status: str = "200 OK", **headers: object) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        "connection: close",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def result(url: str, limit: int = 1000, seconds: float = 5.0) -> bytes:
    return Transport(url).result(f"{url}/result", ends=time.monotonic() + seconds, limit=limit).content


def test_a_whole_answer_arrives(serve: Serve) -> None:
    assert result(serve(head(content_length=3), b"abc")[0]) == b"abc"


@pytest.mark.parametrize("length", [{}, {"content_length": 10**15}])
def test_a_stream_without_end_is_left_at_the_limit(serve: Serve, length: dict[str, object]) -> None:
    url, _ = serve(head(**length), again=b"x" * 4096)
    before = time.monotonic()
    with pytest.raises(RemoteJobError, match=r"127.0.0.1 sends more than the 1,000 bytes that were asked for"):
        result(url)
    assert time.monotonic() - before < 1


def test_what_comes_after_the_length_that_was_said_is_not_read(serve: Serve) -> None:
    assert result(serve(head(content_length=10), again=b"x" * 4096)[0]) == b"x" * 10


@pytest.mark.parametrize(
    ("pieces", "again"), [((), b"H"), ((b"HTTP/1.1 200 OK\r\n",), b"a: b\r\n"), ((head(content_length=99),), b"x")]
)
def test_an_answer_that_drips_is_left_at_the_deadline(serve: Serve, pieces: tuple[bytes, ...], again: bytes) -> None:
    url, _ = serve(*pieces, again=again, pause=0.02)
    before = time.monotonic()
    with pytest.raises(httpx.TransportError):
        result(url, seconds=0.2)
    assert time.monotonic() - before < 0.6


@pytest.mark.parametrize("kind", ["gzip", "zstd", "br, gzip"])
def test_compressed_content_is_not_unpacked(serve: Serve, kind: str) -> None:
    url, asked = serve(head(content_encoding=kind, content_length=3), b"abc")
    with pytest.raises(RemoteJobError, match="compressed content, which was not asked for"):
        result(url)
    assert b"accept-encoding: identity" in asked[0].lower()


def test_a_result_cut_short_may_be_asked_for_again(serve: Serve) -> None:
    with pytest.raises(httpx.TransportError):
        result(serve(head(content_length=100), b"abc")[0])


def test_redirects_without_end_are_left(serve: Serve) -> None:
    url, asked = serve(head("302 Found", location="/result", content_length=0))
    with pytest.raises(RemoteJobError, match="was redirected 3 times, last to 'http://127"):
        result(url)
    assert len(asked) == 3


def test_a_result_may_lie_on_another_port_without_the_key(serve: Serve) -> None:
    store, asked = serve(head(content_length=3), b"abc")
    url, _ = serve(head("307 Temporary Redirect", location=f"{store}/x", content_length=0))
    assert result(url) == b"abc"
    assert b"ndif-api-key" not in asked[0].lower()


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"])
def test_a_redirect_to_anything_but_http_is_not_followed(serve: Serve, location: str) -> None:
    url, _ = serve(head("302 Found", location=location, content_length=0))
    with pytest.raises(RemoteJobError, match="which is not asked"):
        result(url)


def test_a_server_that_redirects_gets_no_second_request(serve: Serve) -> None:
    other, asked = serve(head(content_length=0))
    url, _ = serve(head("307 Temporary Redirect", location=other, content_length=0))
    headers = {"ndif-api-key": "secret"}
    answer = Transport(url).ask("GET", "/x", ends=time.monotonic() + 5, limit=10, headers=headers)
    assert (answer.status, answer.location) == (307, other)
    assert not asked


def test_of_a_long_error_the_beginning_is_read(serve: Serve) -> None:
    url, _ = serve(head("500 Internal Server Error"), again=b"no " * 10_000)
    answer = Transport(url).ask("GET", "/x", ends=time.monotonic() + 5, limit=10)
    assert answer.status == 500
    assert answer.text.startswith("no no no")
    assert len(answer.content) < 300_000


def test_no_proxy_sees_what_is_sent_to_this_machine(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, seen = serve(head(content_length=5), b"proxy")
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert result(serve(head(content_length=3), b"abc")[0]) == b"abc"
    assert not seen


@pytest.mark.parametrize("pieces", [(head("503 Service Unavailable", content_length=0),), (b"HTTP/1.1 200",)])
def test_a_server_is_reached_whatever_it_says(serve: Serve, pieces: tuple[bytes, ...]) -> None:
    Transport(serve(*pieces, pause=0.2)[0]).reach(1.0)


def test_a_name_that_is_looked_up_for_ever_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found.wait(10))
    before = time.monotonic()
    with pytest.raises(httpx.ConnectTimeout, match=r"no connection within 0\.1 seconds"):
        Transport("https://ndif.example").reach(0.1)
    assert time.monotonic() - before < 0.8
    found.set()


def test_a_port_where_no_one_listens_is_said(serve: Serve) -> None:
    with pytest.raises(httpx.ConnectError):
        Transport("http://127.0.0.1:9").reach(1.0)


def test_a_server_without_the_certificate_is_not_reached(serve: Serve) -> None:
    url, _ = serve(b"no handshake")
    with pytest.raises(httpx.ConnectError):
        Transport(url.replace("http:", "https:")).reach(1.0)


def deployed(*entries: str) -> bytes:
    named = ", ".join(f'"{number}": {entry}' for number, entry in enumerate(entries))
    return f'{{"deployments": {{{named}}}}}'.encode()


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (deployed('{"repo_id": "x/y"}', '{"repo_id": "a/b", "deployment_level": "WARM"}'), ["a/b", "x/y"]),
        (deployed('{"repo_id": "x/y", "deployment_level": "COLD"}'), []),
        (deployed('{"repo_id": "x/y", "revision": "v2"}', "3", '{"repo_id": 4}'), []),
        (deployed(r'{"repo_id": "x\u001b[2J/y\n"}'), ["x/y"]),
        (b"<html>", None),
        (b"[" * 100_000, None),
        (b'{"deployments": []}', None),
        (b"[1]", None),
    ],
)
def test_models_are_those_that_the_status_names(serve: Serve, body: bytes, models: list[str] | None) -> None:
    url, _ = serve(head(content_length=len(body)), body)
    assert hosted_models(Transport(url), 5.0) == models
