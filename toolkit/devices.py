"""Which devices this machine has, and on which of them models and crosscoders are placed by default."""

import torch


def default_device() -> torch.device:
    """The device that is used by default: this process's accelerator, or the CPU where there is none."""
    return torch.device(_kind() or "cpu")


def accelerators() -> list[torch.device]:
    """Every accelerator that is there."""
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
    """The device of that name, auto being the default one and a number one of the accelerators.

    Raises `ValueError` for one that is not there.
    """
    if name == "auto":
        return default_device()
    try:
        device = torch.device(f"{_kind() or 'cuda'}:{name}" if isinstance(name, int) else name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device {f'{name}'!r} is none: give auto, cpu, cuda or cuda:1") from error
    there = ["cpu", *map(str, accelerators())]
    if device.type != "cpu" and f"{device.type}:{device.index or 0}" not in there:
        raise ValueError(f"device {f'{name}'!r} is not there: this machine has {', '.join(there)}")
    return device
