"""Where a model's weights lie while it runs here: devices, types, and what is left on the disk."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import convert_file_size_to_int


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How one model is placed on this machine; raises `ValueError` for a `max_memory` that is no size."""

    dtype: str | torch.dtype = "auto"
    """Type of the weights: auto (as saved on a GPU, fp32 on a CPU), or transformers' name of one."""
    device_map: str = "auto"
    """Where accelerate places the weights: auto, cpu, cuda, cuda:1, ..."""
    max_memory: str | None = None
    """Weights that may stay on each device, as 2GB; the rest is read from the disk when it is needed."""
    offload_folder: Path | None = None
    """Folder for weights that the disk holds in another form than the model needs."""

    def __post_init__(self) -> None:
        if self.max_memory is not None and _bytes(self.max_memory) < 1:
            raise ValueError(f"max_memory {self.max_memory!r} is no size above 0: give one such as 2GB or 500MiB")

    def on(self, device: str | None) -> "Placement":
        """The same on another device, if one is named."""
        return self if device is None else replace(self, device_map=device)

    def options(self) -> dict[str, Any]:
        """Keywords of transformers' `from_pretrained`."""
        dtype = self.dtype
        if dtype == "auto" and not torch.cuda.is_available():
            dtype = torch.float32  # half precision saves a CPU nothing but accuracy
        options: dict[str, Any] = {"dtype": dtype, "device_map": self.device_map}
        if self.max_memory is not None:
            # A device by name would hold all of the model; only a map that accelerate infers heeds limits.
            options |= {"device_map": "auto", "max_memory": dict.fromkeys(self._devices(), _bytes(self.max_memory))}
        return options | {"offload_folder": self.offload_folder and str(self.offload_folder)}

    def _devices(self) -> list[int | str]:
        """Devices that weights may stay on, in accelerate's names; on an accelerator they may spill into memory."""
        if self.device_map == "cpu":
            return ["cpu"]
        if self.device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
            return [*range(torch.cuda.device_count()), "cpu"]
        return [torch.device(self.device_map).index or 0, "cpu"]


def _bytes(size: str) -> int:
    try:
        return convert_file_size_to_int(size)
    except ValueError:
        return 0
