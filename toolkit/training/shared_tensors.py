"""A safetensors file that several processes write together, each its own rows: none ever holds a tensor whole."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from toolkit.dictionaries.collectives import Ranks
from toolkit.tensor_files import content_of, header


def write_shared(path: Path, tensors: Mapping[str, Tensor], has_rows: Callable[[str], bool], ranks: Ranks) -> None:
    """Write one file of all ranks' tensors, in a folder that all ranks see.

    Of tensors for which `has_rows` holds each rank gives its rows, which follow those of the ranks before it; of the
    others the first rank's are written. The file is whole once all ranks have returned.
    """
    shapes: list[tuple[str, torch.dtype, Sequence[int]]] = []
    pieces: list[tuple[int, Tensor]] = []  # where each of this rank's tensors begins
    end = 0
    for name, tensor in tensors.items():
        shared = tensor.ndim > 0 and has_rows(name)
        start = ranks.place_of(tensor).start if shared else 0
        shape = [ranks.total(len(tensor)), *tensor.shape[1:]] if shared else list(tensor.shape)
        row = tensor[:1].nbytes if shared else 0
        if shared or ranks.is_first:
            pieces.append((end + start * row, tensor))
        shapes.append((name, tensor.dtype, shape))
        end += shape[0] * row if shared else tensor.nbytes
    first = header(shapes)
    # Not truncated when it is opened: another rank may have begun.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
        if ranks.is_first:
            file.write(first)
        for offset, tensor in pieces:
            file.seek(len(first) + offset)
            file.write(content_of(tensor))
