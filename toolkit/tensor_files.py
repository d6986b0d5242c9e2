"""Reads tensors from safetensors files, and checks that files are whole and numbers finite."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

MEASURABLE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_tensors(path: Path, expected: str, rows: Callable[[str, int], slice] | None = None) -> dict[str, Tensor]:
    """Read a safetensors file; an error names `expected`, what the file should have held.

    `rows` returns the slice of rows to read of a tensor, given its name and number of rows; by default all are read.

    Raises:
        ValueError: the file is missing, cut short, or not a safetensors file.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist: expected {expected}")
    try:
        with safe_open(path, "pt") as file:
            return {name: _read_rows(file, name, rows) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} is corrupt, cut short, or no safetensors file ({error}): expected {expected}"
        ) from error


def check_finite(path: Path | str, tensors: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` for tensors that hold NaN or infinity; `path` names in the message where they come from."""
    if broken := [name for name, tensor in tensors.items() if not is_finite(tensor)]:
        raise ValueError(
            f"{path} holds NaN or infinity in {len(broken)} of {len(tensors)} tensors, such as {broken[0]}: make or"
            " copy it again"
        )


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity; computed without a copy.

    Tensors of types that have neither count as finite, and so do tensors without content (on the meta device).
    """
    if tensor.dtype not in MEASURABLE or tensor.is_meta or tensor.numel() == 0:
        return True
    return bool(torch.stack(tensor.aminmax()).isfinite().all())


def _read_rows(file: Any, name: str, rows: Callable[[str, int], slice] | None) -> Tensor:
    shape = file.get_slice(name).get_shape()
    return file.get_slice(name)[rows(name, shape[0])] if rows and shape else file.get_tensor(name)
