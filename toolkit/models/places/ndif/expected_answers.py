"""Describes the answer that a job should give, its tensors and its largest size, and checks answers against it."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
ROOM = 65_536


@dataclass(frozen=True)
class Asked:
    """Describes one tensor of an answer."""

    shape: tuple[int | range, ...]
    """Its size in each dimension, or the sizes that it may have."""
    dtypes: tuple[torch.dtype, ...] = FLOATS
    """One of these is its type."""
    below: int | None = None
    """For a tensor of ids: each is at least 0 and below this."""

    @property
    def nbytes(self) -> int:
        """Bytes of the largest such tensor."""
        return prod(size if isinstance(size, int) else size[-1] for size in self.shape) * max(
            dtype.itemsize for dtype in self.dtypes
        )


Form = Asked | Sequence["Form"]
"""One tensor, or a list."""


class Job(NamedTuple):
    """Arguments of a function that runs where a model does, and what it returns."""

    arguments: tuple[Any, ...]
    asked: Form


def largest(asked: Mapping[str, Form]) -> int:
    """Return the most bytes of an answer: twice its tensors, which may be views of larger ones, and room for names."""
    return ROOM + 2 * sum(map(_nbytes, asked.values()))


def read_answer(content: bytes, asked: Mapping[str, Form]) -> dict[str, Any]:
    """Return the values that `asked` describes, and no others, from the bytes of an answer.

    Raises:
        OSError: the bytes are no answer, or cut short. ValueError: they hold something else than was asked for.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            records = archive.infolist()
        unpacked = sum(record.file_size for record in records)
        if unpacked > len(content) or any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise ValueError(f"{len(content):,} bytes that unpack to {unpacked:,}")
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except zipfile.BadZipFile as error:
        raise OSError(f"the result of {len(content):,} bytes is damaged: {error}") from error
    except ValueError:
        raise
    except Exception as error:  # torch.load has no class of error for a damaged file
        raise OSError(f"the result of {len(content):,} bytes is damaged: {error}") from error
    if type(saved) is not dict:
        raise ValueError(f"a {type(saved).__name__} in place of names and values")
    for name, form in asked.items():
        if name not in saved:
            raise ValueError(f"no {name!r} among {len(saved)} names")
        _check(saved[name], form, name)
    return {name: saved[name] for name in asked}


def _nbytes(form: Form) -> int:
    return form.nbytes if isinstance(form, Asked) else sum(map(_nbytes, form))


def _check(value: Any, form: Form, name: str) -> None:
    if not isinstance(form, Asked):
        if not isinstance(value, list | tuple) or len(value) != len(form):
            raise ValueError(f"{name} is a {_described(value)}, not a list of {len(form)}")
        for number, (each, part) in enumerate(zip(value, form, strict=True)):
            _check(each, part, f"{name}[{number}]")
        return
    plain = type(value) is Tensor and value.layout == torch.strided and value.device.type == "cpu"
    if not plain or value.dtype not in form.dtypes or not _fits(value.shape, form.shape):
        wanted = " or ".join(str(dtype).removeprefix("torch.") for dtype in form.dtypes)
        raise ValueError(f"{name} is a {_described(value)}, not {wanted} of shape {_written(form.shape)}")
    if form.below is not None and value.numel() and not (value.min() >= 0 and value.max() < form.below):
        raise ValueError(f"{name} holds ids outside 0 to {form.below - 1}")


def _fits(shape: Sequence[int], asked: Sequence[int | range]) -> bool:
    return len(shape) == len(asked) and all(
        size == want if isinstance(want, int) else size in want for size, want in zip(shape, asked, strict=True)
    )


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        kind = f"{str(value.dtype).removeprefix('torch.')} of shape {_written(value.shape)} on {value.device.type}"
        return kind if type(value) is Tensor else f"{type(value).__name__} of {kind}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, list | tuple | dict) else type(value).__name__


def _written(shape: Sequence[int | range]) -> str:
    return f"({', '.join(str(n) if isinstance(n, int) else f'{n[0]} to {n[-1]}' for n in shape)})"
