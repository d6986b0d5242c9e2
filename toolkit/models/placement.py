"""Where a model's weights lie while it runs here: devices, types, and what is left on the disk."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import convert_file_size_to_int
from transformers.distributed import DistributedConfig

from toolkit.models.processes import n_processes


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How one model is placed on this machine; raises `ValueError` for a `max_memory` that is no size."""

    dtype: str | torch.dtype = "auto"
    """Type of the weights: auto (as saved on a GPU, float32 on a CPU), or transformers' name of one."""
    device_map: str = "auto"
    """Where accelerate places the weights: auto, cpu, cuda, cuda:1, ..."""
    max_memory: str | None = None
    """Weights that may stay on each device, as 2GB; the rest is read from the disk when it is needed."""
    offload_folder: Path | None = None
    """Folder for a copy of that rest, where the model's own files cannot be read in place."""
    tensor_parallel: bool = False
    """Whether each layer is split over all processes, one device each; nothing else but `dtype` is heeded then."""

    def __post_init__(self) -> None:
        if self.max_memory is not None:
            size_in_bytes(self.max_memory)

    def on(self, device: str | None) -> "Placement":
        """The same on another device, if one is named."""
        return self if device is None else replace(self, device_map=device)

    def options(self) -> dict[str, Any]:
        """Keywords of transformers' `from_pretrained`."""
        dtype = self.dtype
        if dtype == "auto" and (self.device_map == "cpu" or not torch.cuda.is_available()):
            dtype = torch.float32  # half precision loses accuracy, and not every CPU is fast at it
        if self.tensor_parallel:
            return {"dtype": dtype, "distributed_config": DistributedConfig(tp_size=n_processes())}
        options: dict[str, Any] = {"dtype": dtype, "device_map": self.device_map}
        if self.max_memory is not None:
            # A device by name would hold all of the model; only a map that accelerate infers heeds limits.
            options |= {
                "device_map": "auto",
                "max_memory": dict.fromkeys(self._devices(), size_in_bytes(self.max_memory)),
            }
        return options | {"offload_folder": self.offload_folder and str(self.offload_folder)}

    def _devices(self) -> list[int | str]:
        """Devices that weights may stay on, in accelerate's names; on an accelerator they may spill into memory."""
        if self.device_map == "cpu":
            return ["cpu"]
        if self.device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
            return [*range(torch.cuda.device_count()), "cpu"]
        return [torch.device(self.device_map).index or 0, "cpu"]


def size_in_bytes(max_memory: str) -> int:
    """Bytes of a size such as 2GB; raises `ValueError` for what is no size above 0."""
    try:
        size = int(convert_file_size_to_int(max_memory))
    except ValueError:
        size = 0
    if size < 1:
        raise ValueError(f"max_memory {max_memory!r} is no size above 0: give one such as 2GB or 500MiB")
    return size
