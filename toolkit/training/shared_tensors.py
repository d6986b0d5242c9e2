"""A safetensors file that several processes write together, each its own rows: none ever holds a tensor whole."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from toolkit.dictionaries.collectives import Ranks

TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}


def write_shared(path: Path, tensors: Mapping[str, Tensor], has_rows: Callable[[str], bool], ranks: Ranks) -> None:
    """Write one file of all ranks' tensors, in a folder that all ranks see.

    Of tensors for which `has_rows` holds each rank gives its rows, which follow those of the ranks before it; of the
    others the first rank's are written. The file is whole once all ranks have returned.
    """
    header: dict[str, object] = {}
    pieces: list[tuple[int, Tensor]] = []  # where each of this rank's tensors begins
    end = 0
    for name, tensor in tensors.items():
        shared = tensor.ndim > 0 and has_rows(name)
        start = ranks.place_of(tensor).start if shared else 0
        shape = [ranks.total(len(tensor)), *tensor.shape[1:]] if shared else list(tensor.shape)
        row = tensor[:1].nbytes if shared else 0
        if shared or ranks.is_first:
            pieces.append((end + start * row, tensor))
        size = shape[0] * row if shared else tensor.nbytes
        header[name] = {"dtype": TYPES[tensor.dtype], "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # Not truncated when it is opened: another rank may have begun.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
        if ranks.is_first:
            file.write(len(text).to_bytes(8, "little") + text)
        for offset, tensor in pieces:
            file.seek(8 + len(text) + offset)
            file.write(_bytes(tensor))


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data
