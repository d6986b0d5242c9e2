"""Where a model's weights lie while it runs here: devices, types, and what is left on the disk."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import convert_file_size_to_int
from transformers.distributed import DistributedConfig

from toolkit.arguments import as_dtype
from toolkit.devices import accelerators, as_device, default_device
from toolkit.models.places.processes import n_processes

_AUTOMATIC = ("auto", "balanced", "balanced_low_0", "sequential")

MaxMemory = str | int | dict[int | str, str | int]
"""A size as 2GB or in bytes, for each device, or one for each device by name, as accelerate takes it."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How one model is placed on this machine.

    Raises `ValueError` for a type, a device, or a `max_memory` that there is not.
    """

    dtype: str | torch.dtype = "auto"
    """Type of the weights: auto (as saved on a GPU, float32 on a CPU), or torch's name of one, as bfloat16 or bf16."""
    device_map: str | int | torch.device = "auto"
    """Where accelerate places the weights: auto, cpu, cuda, cuda:1, ..."""
    max_memory: MaxMemory | None = None
    """Weights that may stay on each device, as 2GB; the rest is read from the disk when it is needed."""
    offload_folder: Path | None = None
    """Folder for a copy of that rest, where the model's own files cannot be read in place."""
    attn_implementation: str | None = None
    """How attention is computed: sdpa, eager, flash_attention_2, ...; default: the model's own."""
    tensor_parallel: bool = False
    """Whether each layer is split over all processes, one device each; nothing else but `dtype` is heeded then."""

    def __post_init__(self) -> None:
        self._dtype()
        _check_device(self.device_map)
        if isinstance(self.max_memory, dict):
            for device, size in self.max_memory.items():
                _check_device(device)
                size_in_bytes(size)
        elif self.max_memory is not None:
            size_in_bytes(self.max_memory)

    def on(self, device: str | int | torch.device | None) -> "Placement":
        """The same on another device, if one is named."""
        return self if device is None else replace(self, device_map=device)

    def options(self) -> dict[str, Any]:
        """Keywords of transformers' `from_pretrained`."""
        dtype = self._dtype()
        attention = {} if self.attn_implementation is None else {"attn_implementation": self.attn_implementation}
        if dtype == "auto" and "cpu" in (str(self.device_map), default_device().type):
            dtype = torch.float32  # half precision loses accuracy, and not every CPU is fast at it
        if self.tensor_parallel:
            return {"dtype": dtype, "distributed_config": DistributedConfig(tp_size=n_processes())} | attention
        options: dict[str, Any] = {"dtype": dtype, "device_map": self.device_map} | attention
        if self.max_memory is not None:
            each = self.max_memory
            limits = each if isinstance(each, dict) else dict.fromkeys(self._devices(), each)
            sizes = {device: size_in_bytes(size) for device, size in limits.items()}
            # A device by name would hold all of the model; only a map that accelerate infers heeds limits.
            options |= {"device_map": "auto", "max_memory": sizes}
        return options | {"offload_folder": self.offload_folder and str(self.offload_folder)}

    def _dtype(self) -> torch.dtype | Literal["auto"]:
        return "auto" if self.dtype == "auto" else as_dtype(self.dtype)

    def _devices(self) -> list[int | str]:
        """Devices that weights may stay on, in accelerate's names; on an accelerator they may spill into memory."""
        if self.device_map in _AUTOMATIC:
            return [*("mps" if each.type == "mps" else each.index for each in accelerators()), "cpu"]
        device = torch.device(self.device_map)
        return ["cpu"] if device.type == "cpu" else [device.index or 0, "cpu"]


def _check_device(name: str | int | torch.device) -> None:
    if name not in (*_AUTOMATIC, "disk"):
        as_device(name)


def size_in_bytes(max_memory: str | int) -> int:
    """Bytes of a size such as 2GB; raises `ValueError` for what is no size above 0."""
    try:
        size = int(convert_file_size_to_int(max_memory))
    except (ValueError, TypeError):
        size = 0
    if size < 1:
        raise ValueError(f"max_memory {max_memory!r} is no size above 0: give one such as 2GB or 500MiB")
    return size
