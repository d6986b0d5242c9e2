"""Where models run: `where=` in Python, a group of flags on the command line. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Suppress
from tyro.constructors import PrimitiveConstructorSpec

from toolkit.fields import BESIDE_RESULT, ShortRepr, beside_result
from toolkit.ranges import Count, Positive, check_ranges

Wire = Literal["fp32", "bf16", "int8"]
"""Type in which activations cross the wire."""

_WEIGHTS = ("dtype", "attn_implementation")
_WHOLE = ("max_memory", "offload_folder", "base_device", "distilled_device", "sequential")

Spelled = Annotated[
    Any,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="STR",
        instance_from_str=lambda words: words[0],
        is_instance=lambda _: True,
        str_from_instance=lambda value: [str(value)],
    ),
]
"""A word on the command line; in Python also an object: a type or a device of torch, or sizes by device."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Where(ShortRepr):
    """Where models run, and how: on this machine, one at a time, split over processes, or on NDIF.

    Types, devices and sizes are checked when models are opened, and the error names the wrong one and the right ones.
    """

    dtype: Spelled = "auto"
    """Type of the models' weights: auto (as saved on a GPU, float32 on a CPU), float32, bfloat16 or float16.
    On a CPU bfloat16 takes half the memory of auto."""
    device_map: Spelled = field(default="auto", metadata=BESIDE_RESULT)
    """Where the models are placed: auto, cpu, cuda, cuda:1, ..."""
    base_device: Spelled | None = field(default=None, metadata=BESIDE_RESULT)
    """Device of the base model alone, such as cuda:0."""
    distilled_device: Spelled | None = field(default=None, metadata=BESIDE_RESULT)
    """Device of the distilled model alone, such as cuda:1."""
    max_memory: Spelled | None = field(default=None, metadata=BESIDE_RESULT)
    """Memory that each model's weights may take on a device, as 2GB; the rest is read from the disk at every pass."""
    offload_folder: Path | None = field(default=None, metadata=BESIDE_RESULT)
    """Folder for a copy of the weights beyond --max-memory.
    It is needed only for models in other files than .safetensors, and for mixtures of experts."""
    attn_implementation: Annotated[str | None, Suppress] = field(
        default=None, metadata=beside_result(unless=lambda where: where.attn_implementation is not None)
    )
    """How attention is computed: sdpa, eager, flash_attention_2, ...; default: the model's own."""
    sequential: bool = field(default=False, metadata=BESIDE_RESULT)
    """Keep one model in memory at a time: it reads 131,072 tokens, then the other model does."""
    tensor_parallel: bool = field(default=False, metadata=BESIDE_RESULT)
    """Split each layer over the processes that torchrun started, one for each GPU; the first runs the recipe."""
    remote: bool = field(default=False, metadata=BESIDE_RESULT)
    """Run the models on NDIF instead of this machine.
    NDIF_API_KEY must hold your key; NDIF_HOST names another server than NDIF's own."""
    jobs: Count = field(default=4, metadata=BESIDE_RESULT)
    """Jobs that NDIF is asked to run at the same time."""
    wire: Wire = field(default="bf16", metadata=beside_result(unless=lambda where: where.remote))
    """Type in which NDIF sends activations back; int8 has a scale for each token."""
    deadline: Positive = field(default=600.0, metadata=BESIDE_RESULT)
    """Seconds after which a job on NDIF is given up and sent again."""
    attempts: Annotated[Count, Suppress] = field(default=5, metadata=BESIDE_RESULT)
    """How often a job is sent before it fails; the pauses between add up to a fifth of the deadline."""
    insecure_host: str | None = field(default=None, metadata=BESIDE_RESULT)
    """Name of a server that may get the key over plain http, where others on the network can read it.
    A server on this machine needs no such permission."""

    def __post_init__(self) -> None:
        check_ranges(self)

    def of(self, name: str) -> "Where":
        """Return these settings for the model of that name, with its own device, if it has one, as `device_map`."""
        named = self.device_map.get(name, "auto") if isinstance(self.device_map, Mapping) else self.device_map
        own = {"base": self.base_device, "distilled": self.distilled_device}.get(name)
        device = named if own is None else own
        return replace(self, device_map=device, base_device=None, distilled_device=None)

    def check_used(self, *, models: int = 2, in_memory: int = 0) -> None:
        """Raise `ValueError` for fields that the models do not use: those on NDIF, with split layers, or in memory.

        Of `models` models, `in_memory` are in memory already, and are not loaded. Where others are to be loaded, the
        fields apply to those, except the ones that say how models share memory.
        """
        if in_memory:
            loaded = ("device_map", *_WEIGHTS, *_WHOLE) if in_memory == models else ()
            shared = ("tensor_parallel", "remote", "sequential")
            names, about = (*shared, *loaded), ("models to be loaded", "those in memory", "give a folder or a hub name")
        elif self.remote:
            names = (*_WEIGHTS, "tensor_parallel", *_WHOLE)
            about = ("models on this machine", "those on NDIF", "remote")
        elif self.tensor_parallel:
            names, about = ("device_map", *_WHOLE), ("whole models", "those whose layers are split", "tensor_parallel")
        else:
            return
        defaults = {each.name: each.default for each in fields(self)}
        if given := [name for name in dict.fromkeys(names) if getattr(self, name) != defaults[name]]:
            kind, others, instead = about
            raise ValueError(f"{', '.join(given)}: about {kind}, unused by {others}. Leave it out, or {instead}")

    def check_whole_here(self) -> None:
        """Raise `ValueError` unless one model is loaded as a whole into the memory of this process."""
        for name in ("remote", "tensor_parallel", "sequential", "base_device"):
            if getattr(self, name):
                raise ValueError(
                    f"{name}: an adapted model has parts of two models, which must be whole in the memory of one"
                    f" process: leave out {name}"
                )


def as_where(where: Any) -> Where:
    """Return the `Where` for a device by name or number, "ndif", a device for each model name, or a `Where` itself."""
    if isinstance(where, Where):
        return where
    return Where(remote=True) if isinstance(where, str) and where == "ndif" else Where(device_map=where)
