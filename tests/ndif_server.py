"""A server on loopback that speaks NDIF's wire protocol and runs jobs with nnsight; it fails where a test tells it to.

In a process of its own: `python tests/ndif_server.py PORT FOLDER...`.
"""

import io
import json
import linecache
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

# nnsight mounts `.save` on `object`, which breaks this if it is imported later: no upload above 1 MB would be taken.
import anyio._backends._asyncio  # noqa: F401
import torch
import uvicorn
import zstandard
from fastapi import FastAPI, Form, Header, HTTPException, Response, UploadFile
from nnsight.intervention.serialization import CustomCloudUnpickler
from nnsight.modeling.huggingface import _ID_CACHE
from nnsight.modeling.transformers import TransformersModel
from nnsight.schema.request import RequestModel
from nnsight.schema.response import ResponseModel, Status
from nnsight.tracing.tracer import _saves, dec, inc
from transformers import PreTrainedTokenizerFast

KEY = "the-key-of-the-tests"
Fault = str | dict[str, Any] | Callable[[dict[str, Any]], Any]


class StrangerUnpickler(CustomCloudUnpickler):
    """Knows no code of this project, as a server of NDIF's does not."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in ("toolkit", "tests", "conftest"):
            raise ModuleNotFoundError(f"No module named {module!r}")
        return super().find_class(module, name)


class NdifServer:
    """Hosts the models in `folders`; `faults` are used up by the next jobs, one each ("" for none).

    400, 401, 500: the answer to the job. moved: it should go elsewhere. drop: the socket closes while the job is asked
    for. hang: it never ends. lost: it is forgotten. evicted: it fails for no fault of its own. truncated: half of its
    result comes. late: it is done after the job that follows it. A function: what it makes of the saved values is sent.
    A dict: stands in the last word on the job, over what would. While it is `silent`, it does not say what it hosts.
    """

    def __init__(self, folders: Sequence[str], port: int = 0) -> None:
        self.models = {}
        for folder in folders:
            _ID_CACHE[folder] = folder  # else the model's key is asked for on the hub
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
            options = {"tokenizer": tokenizer, "dtype": torch.float32, "device_map": "cpu", "dispatch": True}
            model = TransformersModel(folder, task="text-generation", **options)
            model._module.requires_grad_(False)
            self.models[model.to_model_key()] = model
        self.workers = {key: ThreadPoolExecutor(1) for key in self.models}
        self.faults: deque[Fault] = deque()
        self.silent = False
        self.jobs_done: list[str] = []
        self.payloads: list[bytes] = []
        self.port = port
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve, knowing of no job."""
        self.answers: dict[str, ResponseModel] = {}
        self.results: dict[str, bytes] = {}
        self.drops: set[str] = set()
        self.finished = threading.Condition()
        options: dict[str, Any] = {"log_level": "critical", "timeout_graceful_shutdown": 0, "ws": "none"}
        config = uvicorn.Config(self._app(), port=self.port, **options)
        self._server = uvicorn.Server(config)
        self._socket = config.bind_socket()
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def stop(self) -> None:
        """Close every socket and forget every job."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._socket.close()

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/request")
        async def request(
            data: Annotated[str, Form()], blob: UploadFile, ndif_api_key: Annotated[str, Header()] = ""
        ) -> Response:
            fault = self.faults.popleft() if self.faults else ""
            if ndif_api_key != KEY or fault == "401":
                raise HTTPException(401, f"Invalid API key {ndif_api_key!r}.")
            if fault in ("400", "500"):
                raise HTTPException(int(fault), "There was an error.")
            if fault == "moved":
                return Response(status_code=307, headers={"location": f"{self.url}/elsewhere"})
            envelope, payload, job = RequestModel.model_validate_json(data), await blob.read(), uuid.uuid4().hex
            self.payloads.append(payload)
            received = ResponseModel(id=job, status=Status.RECEIVED)
            if envelope.model_key not in self.models:
                self.answers[job] = ResponseModel(id=job, status=Status.ERROR, description="Model is not available.")
            elif fault == "evicted":
                self.answers[job] = ResponseModel(id=job, status=Status.ERROR, description="Replica was evicted.")
            elif fault not in ("hang", "lost"):
                self.workers[envelope.model_key].submit(self._work, job, envelope, payload, fault)
            if fault == "hang":
                self.answers[job] = ResponseModel(id=job, status=Status.RUNNING)
            if fault == "drop":
                self.drops.add(job)
            return Response(received.model_dump_json())

        @app.get("/response/{job}")
        async def response(job: str) -> Response:
            if job in self.drops:
                self.drops.remove(job)
                return Response(b"{", headers={"content-length": "100"})  # uvicorn then closes the socket
            if job not in self.answers:
                raise HTTPException(404, "No response yet.")
            return Response(self.answers[job].model_dump_json())

        @app.get("/result/{job}")
        async def result(job: str, ndif_api_key: Annotated[str, Header()] = "") -> Response:
            assert not ndif_api_key, "the object store is not NDIF: it must not see the key"
            return Response(self.results[job])

        @app.get("/status")
        async def status() -> dict[str, Any]:
            if self.silent:
                raise HTTPException(503, "No status now.")
            return {
                "deployments": {key: {"repo_id": json.loads(key.split(":", 1)[1])["repo_id"]} for key in self.models}
            }

        return app

    def _work(self, job: str, envelope: RequestModel, payload: bytes, fault: Fault) -> None:
        if fault == "late":
            with self.finished:
                self.finished.wait(0.2)
        try:
            saved = execute(self.models[envelope.model_key], payload, envelope.compress)
        except Exception as error:
            traceback = f"Traceback (most recent call last):\n{type(error).__name__}: {error}"
            self.answers[job] = ResponseModel(id=job, status=Status.ERROR, description=traceback)
            return
        buffer = io.BytesIO()
        torch.save(fault(saved) if callable(fault) else saved, buffer)
        content = buffer.getvalue()
        if envelope.compress:
            content = zstandard.ZstdCompressor().compress(content)
        self.results[job] = content[: len(content) // 2] if fault == "truncated" else content
        self.jobs_done.append(job)  # before anyone can know that it is
        done = ResponseModel(id=job, status=Status.COMPLETED, data=f"{self.url}/result/{job}")
        self.answers[job] = done.model_copy(update=fault if isinstance(fault, dict) else {})
        with self.finished:
            self.finished.notify_all()


def execute(model: TransformersModel, payload: bytes, compress: bool) -> dict[str, Any]:
    """Run a job, and return what it saved."""
    known = dict(linecache.cache)
    tracer = RequestModel.deserialize(payload, model._remoteable_persistent_objects(), compress, StrangerUnpickler)
    linecache.cache.update(known)  # the job's source would stand for the file it came from, which is ours too
    inc()
    try:
        tracer.execute(tracer.info.code)
        saves = _saves()
        return {name: value for name, value in tracer.info.frame.f_locals.items() if id(value) in saves}
    finally:
        dec()


def main() -> None:
    torch.set_num_threads(1)
    server = NdifServer(sys.argv[2:], port=int(sys.argv[1]))
    print(server.url, flush=True)
    server._thread.join()


if __name__ == "__main__":
    main()
