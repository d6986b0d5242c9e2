"""A model on NDIF: none of its weights are here, and each function that it runs is a job."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import nnsight
import torch
from nnsight.intervention.backends.remote import RemoteBackend
from nnsight.modeling.huggingface import _ID_CACHE
from nnsight.modeling.transformers import TransformersModel
from nnsight.schema.request import RequestModel
from torch import Tensor
from torch.utils._pytree import tree_map_only
from transformers import GenerationConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file

from toolkit.devices import default_device
from toolkit.models.model.layers import site_modules
from toolkit.models.places.ndif.connection import UPLOAD, Connection
from toolkit.models.places.ndif.expected_answers import Form, Job
from toolkit.models.places.ndif.in_flight import in_background, in_flight
from toolkit.models.places.ndif.wire import unpack
from toolkit.models.places.place import Context, Place, Reader, Rows
from toolkit.models.where import Where

WRITING = threading.Lock()
"""Held by the thread that makes a trace into a job: Python 3.11 cannot parse source in two threads at once
(SystemError: AST constructor recursion depth mismatch). `RemoteTrace` releases it while the job runs."""


class Ndif(Place):
    """The place of a model on a server of NDIF. No caller waits for another.

    Raises `ValueError` as `Connection` does, and where the server does not have the model.
    """

    keeps_caches, has_files, job_bytes = False, False, UPLOAD

    def __init__(self, source: str, tokenizer: PreTrainedTokenizerBase, where: Where) -> None:
        """`source` is a hub repository, or a folder that the server reads too."""
        super().__init__(default_device())
        self._connection = Connection(source, where)
        self.traffic, self.wire, self.server = self._connection.traffic, where.wire, self._connection.host_name
        self._jobs = where.jobs
        self._connection.hosted()  # says which hosts cannot be reached, before the model is looked for
        self._model = _without_weights(source, tokenizer)

    @property
    def model(self) -> TransformersModel:
        """The model without weights, whose traces become jobs."""
        return self._model

    @property
    def inputs_device(self) -> torch.device:
        """Inputs are in this machine's memory, from where they are sent."""
        return torch.device("cpu")

    def run(self, function: Callable[..., Any], *arguments: Any, asked: Form) -> Any:
        """Call one of `server_side`'s functions on the server, in one job."""
        model, sites = self._model, site_modules(self._model)
        here = tree_map_only(Tensor, Tensor.cpu, arguments)  # the server may have no such device
        job = RemoteTrace(model.to_model_key(), self._connection, {"found": asked})
        with WRITING, model.session(backend=job):
            found = nnsight.save(function(model, sites, *here))
        return found  # noqa: RET504

    def run_each(self, function: Callable[..., Any], jobs: Iterable[Job]) -> Iterator[Any]:
        """`run` on several lists of arguments, `Where.jobs` of them at once; results in order."""
        return in_flight(lambda job: self.run(function, *job.arguments, asked=job.asked), jobs, self._jobs)

    def read_each(
        self,
        readers: Mapping[Place, Reader],
        batches: Iterable[tuple[Context, Rows]],
        stop: Event | None = None,
    ) -> Iterator[tuple[Context, list[Tensor]]]:
        """Read with all models at once, and the batches that follow too: `Where.jobs` jobs are under way in all."""

        def read(batch: tuple[Context, Rows]) -> tuple[Context, list[Tensor]]:
            context, rows = batch
            *others, last = readers.values()
            under_way = [in_background(partial(each, rows)) for each in others]
            own = last(rows)
            return context, [*(each.result() for each in under_way), own]

        return in_flight(read, batches, max(1, self._jobs // len(readers)), stop)

    def unpack(self, packed: list[Tensor]) -> Tensor:
        """Return the activations of a reply, and count the error that the wire's type caused."""
        values, scales, sums = packed
        self._connection.count_error(*sums.tolist())
        return unpack(values.to(self.device), scales.to(self.device))

    def free(self) -> None:
        """Nothing to do: no weights are here."""

    def __repr__(self) -> str:
        return f"on NDIF ({self.server})"


class RemoteTrace(RemoteBackend):
    """Runs one trace as a job, and gives its saved values to the caller's frame, as a trace here does.

    The thread that traces holds `WRITING`.
    """

    def __init__(self, model_key: str, connection: Connection, asked: Mapping[str, Form]) -> None:
        """`asked` is the form of each name that the trace saves; only those are written into the frame."""
        super().__init__(model_key, host=connection.host, api_key="kept in the connection")
        self._connection, self._asked = connection, asked

    def __call__(self, tracer: Any = None) -> dict[str, Any]:
        """Send the trace, wait for its end, and return what it saved."""
        # Not `_serialize`: that ships every module of the working directory. And not compressed: activations hardly
        # shrink, and take longer to compress than to send.
        payload = RequestModel.serialize(tracer, compress=False)
        envelope = RequestModel(model_key=self.model_key, compress=False)
        WRITING.release()
        try:
            saved = self._connection.run(envelope, payload, self._asked)
        finally:
            WRITING.acquire()
        self._push(saved, tracer)
        return saved


def _without_weights(source: str, tokenizer: PreTrainedTokenizerBase) -> TransformersModel:
    if Path(source).is_dir():
        _ID_CACHE[source] = source  # else nnsight asks the hub for the name
    model = TransformersModel(source, task="text-generation", tokenizer=tokenizer, dispatch=False)
    if cached_file(source, "generation_config.json", _raise_exceptions_for_missing_entries=False) is not None:
        model._module.generation_config = GenerationConfig.from_pretrained(source)
    return model
