"""Small weights, activations with planted features, and a hub on this machine."""

import base64
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
import torch
from huggingface_hub import constants
from torch import Tensor

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.sparse_products.plain import PLAIN
from toolkit.dictionaries.weights import Batch, Weights, Workspace


@pytest.fixture
def make_weights() -> Callable[..., Weights]:
    """Random weights on scaled activations: 24 latents, 3 streams of width 5."""

    def make(n_latents: int = 24, width: int = 15, thresholds: bool = False, dtype=torch.float32) -> Weights:
        generator = torch.Generator().manual_seed(3)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(dtype)

        extra = {"log_threshold": 0.3 * draw(n_latents)} if thresholds else {}
        return Weights(draw(n_latents, width), draw(n_latents), draw(n_latents, width), draw(width), extra)

    return make


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """What a pass over three streams is given; by default nothing was remembered, and no other process has a share."""

    def make(
        x: Tensor,
        weights: Weights,
        strength: float = 1.0,
        dtype: torch.dtype = torch.float32,
        memory: dict[str, Tensor] | None = None,
        workspace: Workspace | None = None,
        **training: Any,
    ) -> Batch:
        precision = {"precision": "bf16" if dtype == torch.bfloat16 else "fp32"}
        return Batch(
            x=x,
            weights=weights,
            stream_norms=weights.decoder_norms(3),
            strength=strength,
            training=TrainingConfig(**precision | training),
            dtype=dtype,
            workspace=workspace or Workspace(),
            products=PLAIN,
            memory=memory or {},
        )

    return make


@pytest.fixture
def planted() -> Callable[..., Iterator[Tensor]]:
    """Batches of 256 tokens: 32 sparse features, half of them shared by both streams, the rest in one alone.

    The second stream is three times as large as the first, and both have an offset.
    """

    def batches(seed: int, d_model: int = 16) -> Iterator[Tensor]:
        fixed = torch.Generator().manual_seed(0)
        features = torch.nn.functional.normalize(torch.randn(32, 2, d_model, generator=fixed), dim=2)
        features[:16] = features[:16, :1]
        features[16:24, 1] = 0
        features[24:, 0] = 0
        size = torch.tensor([1.0, 3.0])[:, None]
        offset = torch.randn(2, d_model, generator=fixed)
        generator = torch.Generator().manual_seed(seed)
        while True:
            active = torch.rand(256, 32, generator=generator) < 3 / 32
            codes = active * (4 + 4 * torch.rand(256, 32, generator=generator))
            yield size * (torch.einsum("tn,nsd->tsd", codes, features) + offset)

    return batches


@pytest.fixture
def dictionary_learning_tensors() -> Callable[..., dict[str, Tensor]]:
    """The tensors of an older dictionary_learning checkpoint, and those of `more`; 12 latents, 3 streams of width 5."""

    def make(n_streams: int = 3, **more: Tensor | float) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(5)
        shapes = {
            "encoder.weight": (n_streams, 5, 12),
            "encoder.bias": (12,),
            "decoder.weight": (n_streams, 12, 5),
            "decoder.bias": (n_streams, 5),
        }
        tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        return tensors | {name: torch.as_tensor(value) for name, value in more.items()}

    return make


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for one repository of these files, and keeps what is asked for and what is uploaded."""

    files: ClassVar[dict[str, bytes]]
    taken: ClassVar[list[str]]

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        name = self.path.partition("/resolve/")[2].partition("/")[2]
        info = {"id": "someone/it", "sha": "0" * 40, "siblings": [{"rfilename": file} for file in self.files]}
        tree = [{"type": "file", "path": file, "size": len(self.files[file]), "oid": file} for file in self.files]
        body = self.files[name] if name else json.dumps(tree if "/tree/" in self.path else info).encode()
        self.send_response(200)
        for header in (("Content-Length", len(body)), ("ETag", f'"{name}"'), ("X-Repo-Commit", "0" * 40)):
            self.send_header(header[0], str(header[1]))
        self.end_headers()
        if with_body:
            self.wfile.write(body)
            self.taken.extend([name] if name else [])

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "/preupload/" in self.path:
            found = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(sent)["files"]
            ]
            reply: dict[str, object] = {"files": found}
        elif "/commit/" in self.path:
            for line in map(json.loads, sent.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            reply = {"commitUrl": f"{constants.ENDPOINT}/someone/it/commit/{'0' * 40}", "commitOid": "0" * 40}
        else:
            reply = {"url": f"{constants.ENDPOINT}/someone/it", "warnings": [], "errors": []}
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A hub on this machine, with an empty cache before it."""
    Hub.files, Hub.taken = {}, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        yield Hub
        server.shutdown()
