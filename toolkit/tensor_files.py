"""Reads and writes safetensors files, and checks that files are whole and numbers finite."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

MEASURABLE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What safetensors calls the types that are written."""
PIECE = 2**24
"""Bytes that are hashed and written at once."""


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


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write a safetensors file, and return its sha256 as hexadecimal digits, taken of the bytes on their way.

    Other threads run on meanwhile: safetensors' own writer first copies all content, and holds them up for it.
    """
    ordered = sorted(tensors, key=lambda name: -tensors[name].itemsize)  # so that each begins at a multiple of its type
    shapes = ((name, tensors[name].dtype, tensors[name].shape) for name in ordered)
    found = hashlib.sha256()
    with path.open("wb") as file:
        for content in (memoryview(header(shapes)), *(content_of(tensors[name]) for name in ordered)):
            for start in range(0, len(content), PIECE):
                piece = content[start : start + PIECE]
                found.update(piece)
                file.write(piece)
    return found.hexdigest()


def header(tensors: Iterable[tuple[str, torch.dtype, Sequence[int]]]) -> bytes:
    """Return how a safetensors file begins that holds such tensors, one after the other."""
    places: dict[str, object] = {}
    end = 0
    for name, dtype, shape in tensors:
        start, end = end, end + math.prod(shape) * dtype.itemsize
        places[name] = {"dtype": TYPES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(places).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def content_of(tensor: Tensor) -> memoryview:
    """Return a tensor's numbers as bytes; of one on the CPU that lies in one piece, without a copy."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data


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
