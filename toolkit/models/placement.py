"""Where a model's weights lie while it runs here: devices, types, and what is left on the disk."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How one model is placed on this machine."""

    dtype: str | torch.dtype = "auto"
    """Type of the weights: auto (as saved on a GPU, fp32 on a CPU), or transformers' name of one."""
    device_map: str = "auto"
    """Where accelerate places the weights: auto, cpu, cuda, cuda:1, ..."""
    max_memory: str | None = None
    """Weights that may stay on each device, as 2GB; the rest is read from the disk when it is needed."""
    offload_folder: Path | None = None
    """Folder for weights that the disk holds in another form than the model needs."""
