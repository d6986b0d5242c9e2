"""The interface of places: a place is where one model runs."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from threading import Event
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from nnsight.modeling.transformers import TransformersModel
from torch import Tensor

from toolkit.models.model.layers import site_modules
from toolkit.models.places.ndif.expected_answers import Form, Job
from toolkit.models.where import Wire

Context = TypeVar("Context")
Rows = tuple[Int[Tensor, "row position"], Int[Tensor, "row position"], Bool[Tensor, "row position"]]
"""A batch to read: ids, their mask, and the positions whose streams are returned."""
Reader = Callable[[Rows], Float[Tensor, "token stream d_model"]]


@dataclass
class Traffic:
    """Counts of jobs and bytes that were sent and received; all zero for a model on this machine."""

    jobs: int = 0
    """Jobs that were done."""
    retries: int = 0
    """Jobs that were sent again."""
    sent: int = 0
    """Bytes to the server."""
    received: int = 0
    """Bytes from the server."""
    squared_error: float = 0.0
    """Squared error of all activations, caused by the wire's type."""
    square: float = 0.0
    """Sum of squares of all activations, which the error is divided by."""

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    @property
    def wire_error(self) -> float:
        """Squared error of the activations that arrived, relative to their square."""
        return self.squared_error / self.square if self.square else 0.0


class Place(ABC):
    """The place where one model runs, and how functions on it are run there. Any thread may call.

    The descriptions here hold for a model whose weights are in this process; other places describe what differs.
    """

    device: torch.device
    """Device of the tensors that reads return."""
    in_memory: bool = True
    """Whether the weights are in this machine's memory now."""
    keeps_caches: ClassVar[bool] = True
    """Whether a cache of keys and values can stay with the model between two calls."""
    has_files: ClassVar[bool] = True
    """Whether the weights' files are on this machine."""
    job_bytes: ClassVar[int | None] = None
    """Most bytes of arguments of one call, where that is limited."""
    wire: Wire | None = None
    """Type in which activations are sent back from a server."""
    server: str | None = None
    """Name of the server that holds the weights, if one does."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.traffic = Traffic()
        self._lock = threading.Lock()

    @property
    @abstractmethod
    def model(self) -> TransformersModel:
        """The model behind nnsight, as it is opened here."""

    @property
    def inputs_device(self) -> torch.device:
        """Device of the inputs of a pass."""
        return self.device

    def run(self, function: Callable[..., Any], *arguments: Any, asked: Form) -> Any:
        """Call one of `server_side`'s functions where the model is; `asked` is what it returns.

        It is given the model and the modules whose inputs are the sites, both behind nnsight, then `arguments`.
        nnsight runs one trace at a time on a model: a second caller waits for the first.
        """
        model = self.model
        with self._lock:
            return function(model, site_modules(model), *arguments)

    def run_each(self, function: Callable[..., Any], jobs: Iterable[Job]) -> Iterator[Any]:
        """`run` on several lists of arguments; results in order."""
        return (self.run(function, *job.arguments, asked=job.asked) for job in jobs)

    def read_each(
        self,
        readers: Mapping["Place", Reader],
        batches: Iterable[tuple[Context, Rows]],
        stop: Event | None = None,
    ) -> Iterator[tuple[Context, list[Tensor]]]:
        """Read batch after batch with several models, each in a place like this; batches are taken as they are needed.

        Each batch comes with its context, and what the models read, in their order, is given back with it. `stop` ends
        waiting for others with `CancelledError`.
        """
        for context, rows in batches:
            yield context, [read(rows) for read in readers.values()]

    def unpack(self, packed: list[Tensor]) -> Float[Tensor, "token layer d_model"]:
        """The activations that `wire.pack` made ready where the model is."""
        return packed[0]

    @abstractmethod
    def free(self) -> None:
        """Free the memory of the weights: the model cannot run any more."""


def stretches(sizes: Sequence[int], limit: int | None) -> list[slice]:
    """Return slices of neighbours whose sizes sum to at most `limit`, or of one item; without items an empty slice."""
    found, start, held = [], 0, 0
    for index, size in enumerate(sizes):
        if limit is not None and index > start and held + size > limit:
            found.append(slice(start, index))
            start, held = index, 0
        held += size
    return [*found, slice(start, len(sizes))]
