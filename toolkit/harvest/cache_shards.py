"""One shard of an activation cache: a safetensors file of chunks, whose type may be smaller than the models'."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Shaped
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from toolkit.artifacts import sha256
from toolkit.harvest.choices import CacheType

DTYPES: dict[CacheType, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}
LARGEST_INT8 = 127


class StoredChunk(NamedTuple):
    """Activations as they are stored on the disk."""

    values: Shaped[Tensor, "token stream d_model"]
    """fp32, bf16, or int8 in units of `scale`."""
    scale: Float[Tensor, "token stream"] | None = None
    """The value of 1 in each int8 vector."""

    def to(self, device: torch.device) -> "StoredChunk":
        """Return the same chunk on another device."""
        return StoredChunk(self.values.to(device), None if self.scale is None else self.scale.to(device))

    def restore(self) -> Float[Tensor, "token stream d_model"]:
        """Return the activations: fp32 and bf16 as stored, int8 as fp32."""
        return self.values if self.scale is None else self.values * self.scale[:, :, None]

    @property
    def nbytes(self) -> int:
        """Bytes on the disk."""
        return self.values.nbytes + (0 if self.scale is None else self.scale.nbytes)


def store(activations: Float[Tensor, "token stream d_model"], kind: CacheType) -> StoredChunk:
    """Cast activations; in int8 the largest magnitude of each vector becomes 127, and NaN and infinity become NaN."""
    if kind != "int8":
        return StoredChunk(activations.to(DTYPES[kind]).contiguous())
    x = activations.float()
    scale = x.abs().amax(dim=2) / LARGEST_INT8
    values = (x / scale.where(scale != 0, 1)[:, :, None]).round().nan_to_num(0).to(torch.int8)
    return StoredChunk(values, scale)


def squared_norms(activations: Float[Tensor, "token stream d_model"], stored: StoredChunk) -> tuple[float, float]:
    """Return the squared norms of the storing error and of the activations, both summed, NaN and infinity included."""
    lost = (activations.float() - stored.restore().float()).norm(dim=2)
    lost_and_all = torch.stack([lost, activations.float().norm(dim=2)]).double().square().sum(dim=(1, 2))
    first, second = lost_and_all.tolist()
    return first, second


def bytes_a_token(kind: CacheType, n_streams: int, d_model: int) -> int:
    """Return the bytes that one token's activations take, on the disk or over the wire."""
    return n_streams * (d_model * DTYPES[kind].itemsize + (4 if kind == "int8" else 0))


SHARD_BYTES, SHARD_SECONDS = 2**29, 60.0


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What the index records of one file."""

    file: str
    chunks: int
    tokens: int
    nbytes: int
    """Size of the file."""
    sha256: str
    lost: float
    """Squared norm of the error of storing, summed over the shard's activations."""
    norm: float
    """Squared norm of the activations, summed in the same way."""
    end: dict[str, Any]
    """`state_dict` of the live stream after the shard's last chunk: where the next shard begins."""

    def has_its_size(self, folder: Path) -> bool:
        """Whether the file is in `folder`, with the size that was written."""
        path = folder / self.file
        return path.is_file() and path.stat().st_size == self.nbytes

    def is_whole(self, folder: Path) -> bool:
        """Whether the file in `folder` holds the bits that were written; reads all of it."""
        return self.has_its_size(folder) and sha256(folder / self.file) == self.sha256


@dataclass(kw_only=True)
class GrowingShard:
    """Chunks that are collected in memory until they are written to a file."""

    chunks: list[StoredChunk] = field(default_factory=list)
    counts: list[dict[str, int]] = field(default_factory=list)
    """Tokens kept and dropped, by reason, up to the end of each chunk."""
    lost: float = 0.0
    norm: float = 0.0
    end: dict[str, Any] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    @property
    def full(self) -> bool:
        """Whether it is time to write; a process that is killed loses no more than one shard."""
        old = time.monotonic() - self.begun >= SHARD_SECONDS
        return old or sum(chunk.nbytes for chunk in self.chunks) >= SHARD_BYTES

    def add(self, chunk: StoredChunk, norms: tuple[float, float], end: dict[str, Any]) -> None:
        """Add one chunk, after which the live stream stands at `end`; `norms` are those of `squared_norms`."""
        self.chunks.append(chunk.to(torch.device("cpu")))
        self.counts.append(dict(end["mask"]["counts"]))
        self.lost, self.norm, self.end = self.lost + norms[0], self.norm + norms[1], end

    def write(self, path: Path) -> Shard:
        """Write the file in one move."""
        tensors = {_name(number): chunk.values for number, chunk in enumerate(self.chunks)}
        scales = {_scale(number): c.scale for number, c in enumerate(self.chunks) if c.scale is not None}
        temporary = path.with_suffix(".tmp")
        try:
            # Not flushed: training would wait for the disk; a loss of power shows in the file's size or sha256.
            save_file(tensors | scales, temporary, metadata={"counts": json.dumps(self.counts)})
            digest = sha256(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return Shard(
            file=path.name,
            chunks=len(self.chunks),
            tokens=sum(len(chunk.values) for chunk in self.chunks),
            nbytes=path.stat().st_size,
            sha256=digest,
            lost=self.lost,
            norm=self.norm,
            end=self.end,
        )


def file_name(number: int) -> str:
    """Return the name of a shard's file."""
    return f"shard-{number:06d}.safetensors"


def read_chunks(path: Path, numbers: range) -> Iterator[tuple[StoredChunk, dict[str, int]]]:
    """Yield the chunks of a file, memory-mapped, each with the counts of kept and dropped tokens up to its end."""
    with safe_open(path, "pt") as file:
        names = set(file.keys())
        counts = json.loads(file.metadata()["counts"])
        for number in numbers:
            scale = file.get_tensor(_scale(number)) if _scale(number) in names else None
            yield StoredChunk(file.get_tensor(_name(number)), scale), counts[number]


def _name(number: int) -> str:
    return f"{number:06d}"


def _scale(number: int) -> str:
    return f"{number:06d}.scale"
