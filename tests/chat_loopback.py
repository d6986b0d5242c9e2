"""A server on loopback that speaks OpenAI's protocol of chat completions; it fails where a test tells it to."""

import json
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "the-model"
LABEL = '{"explanation": "The latent fires on the word Wait.", "category": "self-reflection"}'


@dataclass(frozen=True)
class Refused:
    """An answer that is none."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None


Fault = int | str | Refused | Mapping[str, Any]


def sensible(prompt: str) -> str:
    """Label every latent as one of Wait, and judge passages by whether that word is there, or marked."""
    if "Categories:" in prompt:
        return LABEL
    found = re.search(r"Passages:\n(\[.*?\n\])", prompt, re.DOTALL)
    if found is None:
        return "1"
    sought = "⟦ ?Wait" if "⟦" in prompt else "Wait"
    return str([int(bool(re.search(sought, text))) for text in json.loads(found[1])])


@dataclass(eq=False)
class ChatLoopback:
    """`faults` are used up by the next chat completions, one each ("" for none).

    A number, or a refusal: the status of the answer. drop: the socket closes without an answer. hang: no
    answer comes. Other text: what the model replies. A mapping: the whole answer.
    """

    answer: Callable[[str], str] = sensible
    key: str | None = None
    models: list[str] | None = field(default_factory=lambda: [MODEL])
    """Models that are listed, and asked for; None where a server lists none, and takes any name."""
    other_names: set[str] = field(default_factory=set)
    """Names of models that can be asked for too."""
    lists_nothing_for: int | None = None
    """The status with which the list is refused."""
    known_parameters: set[str] = field(default_factory=lambda: {"model", "messages", "temperature", "max_tokens"})
    faults: "deque[Fault]" = field(default_factory=deque)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    gate: threading.Event | None = None
    """Answers wait for this."""
    port: int = 0

    def __post_init__(self) -> None:
        self._lock, self._closing = threading.Lock(), threading.Event()
        self.connections: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def prompts(self) -> list[str]:
        """What was asked, in order, faults among them."""
        return [body["messages"][0]["content"] for body in self.bodies]

    @contextmanager
    def serving(self) -> Iterator["ChatLoopback"]:
        """Serve in the block."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"loopback": self})
        self._closing.clear()
        self._http = _Http(("127.0.0.1", self.port), handler)
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Be gone: connections end, and new ones are refused."""
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    def complete(self, body: dict[str, Any], key: str | None) -> Fault | dict[str, Any]:
        """The answer to a chat completion: a fault, or the whole answer."""
        with self._lock:
            self.bodies.append(body)
            self.keys.append(key)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            fault = self.faults.popleft() if self.faults else ""
        try:
            if self.gate is not None:
                self.gate.wait(30)
            if fault == "hang":
                self._closing.wait(30)
            return fault or completion(self.answer(body["messages"][0]["content"]))
        finally:
            with self._lock:
                self.at_once -= 1


def completion(content: str | None, *, ended: str = "stop", **message: Any) -> dict[str, Any]:
    """A whole answer; further fields go into its message."""
    said = {"role": "assistant", "content": content, **message}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": said, "finish_reason": ended}],
        "usage": usage,
    }


class _Http(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def handle_error(self, *_: Any) -> None:
        """A client that has gone is none of the tests' errors."""


class _Handler(BaseHTTPRequestHandler):
    loopback: ChatLoopback
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.loopback.connections.add(self.connection)

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self._is_refused():
            return
        if self.loopback.lists_nothing_for is not None:
            self._send(self.loopback.lists_nothing_for, {"error": {"message": "no list"}})
            return
        if self.path != "/v1/models" or self.loopback.models is None:
            self._send(404, {"error": {"message": f"no route {self.path}"}})
            return
        self._send(200, {"object": "list", "data": [{"id": name} for name in self.loopback.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self._is_refused():
            return
        served = self.loopback.models is None or body["model"] in {*self.loopback.models, *self.loopback.other_names}
        if self.path != "/v1/chat/completions" or not served:
            self._send(404, {"error": {"message": f"no route {self.path}, or no model {body['model']}"}})
            return
        if unknown := sorted(body.keys() - self.loopback.known_parameters):
            use = "Use 'max_completion_tokens' instead." if unknown == ["max_tokens"] else ""
            self._send(400, {"error": {"message": f"Unsupported parameter: {unknown[0]!r}. {use}"}})
            return
        answer = self.loopback.complete(body, self.headers["authorization"])
        if answer in ("drop", "hang"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif isinstance(answer, int | Refused):
            refused = Refused(answer) if isinstance(answer, int) else answer
            error = {"message": f"fault {refused.status}", "code": refused.code}
            self._send(refused.status, {"error": error}, refused.headers)
        else:
            self._send(200, completion(answer) if isinstance(answer, str) else answer)

    def _is_refused(self) -> bool:
        given = self.headers["authorization"]
        if self.loopback.key is None or given == f"Bearer {self.loopback.key}":
            return False
        self._send(401, {"error": {"message": f"Incorrect API key provided: {given}"}})
        return True

    def _send(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
