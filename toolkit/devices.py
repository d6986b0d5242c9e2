"""The devices that this machine has, and the one on which models and crosscoders are placed by default."""

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

WAITING = ("cpu", "mps", "xpu")
"""Devices whose copies are waited for: what one copies meanwhile from memory that is not pinned may be freed before."""


def default_device() -> torch.device:
    """Return the device that is used by default: this process's accelerator, or the CPU where there is none."""
    return torch.device(_kind() or "cpu")


def accelerators() -> list[torch.device]:
    """Return every accelerator of this machine."""
    kind = _kind()
    if kind is None:
        return []
    count = torch.cuda.device_count() if kind == "cuda" else torch.accelerator.device_count()
    return [torch.device(kind, number) for number in range(count)]


def _kind() -> str | None:
    if torch.cuda.is_available():
        return "cuda"
    found = torch.accelerator.current_accelerator(check_available=True)
    return None if found is None else found.type


def as_device(name: str | int | torch.device) -> torch.device:
    """Return the device of a name; auto is the default device, and a number is that of an accelerator.

    Raises `ValueError` for a name that is no device's, and for a device that this machine does not have.
    """
    if name == "auto":
        return default_device()
    try:
        device = torch.device(f"{_kind() or 'cuda'}:{name}" if isinstance(name, int) else name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device {f'{name}'!r} is not known: give auto, cpu, cuda or cuda:1") from error
    there = ["cpu", *map(str, accelerators())]
    if device.type != "cpu" and f"{device.type}:{device.index or 0}" not in there:
        raise ValueError(f"device {f'{name}'!r} is not there: this machine has {', '.join(there)}")
    return device


def hold_on_cpu(holder: Any) -> None:
    """Put the tensors of a frozen dataclass's fields on the CPU, where its own functions and its users' expect them."""
    for each in fields(holder):
        value = getattr(holder, each.name)
        if isinstance(value, Tensor | tuple):
            object.__setattr__(holder, each.name, tree_map_only(Tensor, Tensor.cpu, value))


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device, without waiting for what the device has still to do."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()  # else the copy waits its turn behind the work of the device
    return tensor.to(device, non_blocking=device.type not in WAITING)
