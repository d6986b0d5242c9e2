"""One shard of an activation cache: a safetensors file of chunks, and what the index says of it."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from toolkit.artifacts import sha256
from toolkit.harvest.cache_types import StoredChunk

SHARD_BYTES, SHARD_SECONDS = 2**29, 60.0


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What the index says of one file."""

    file: str
    chunks: int
    tokens: int
    nbytes: int
    """Size of the file."""
    sha256: str
    lost: float
    """Squared norm lost to the type, summed over its activations."""
    norm: float
    """Their squared norm."""
    end: dict[str, Any]
    """`state_dict` of the live stream after its last chunk: where the next shard begins."""


@dataclass(kw_only=True)
class GrowingShard:
    """Chunks on their way into a file."""

    chunks: list[StoredChunk] = field(default_factory=list)
    counts: list[dict[str, int]] = field(default_factory=list)
    """Tokens kept and dropped, by reason, up to the end of each chunk."""
    lost: float = 0.0
    norm: float = 0.0
    end: dict[str, Any] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    @property
    def full(self) -> bool:
        """Whether it is time to write: a kill loses no more than this."""
        old = time.monotonic() - self.begun >= SHARD_SECONDS
        return old or sum(chunk.nbytes for chunk in self.chunks) >= SHARD_BYTES

    def add(self, chunk: StoredChunk, norms: tuple[float, float], end: dict[str, Any]) -> None:
        """Take in one chunk, after which the live stream stands at `end`; `norms` as `squared_norms` gives them."""
        self.chunks.append(chunk.to(torch.device("cpu")))
        self.counts.append(dict(end["mask"]["counts"]))
        self.lost, self.norm, self.end = self.lost + norms[0], self.norm + norms[1], end

    def write(self, path: Path) -> Shard:
        """Write the file in one move."""
        tensors = {_name(number): chunk.values for number, chunk in enumerate(self.chunks)}
        scales = {_scale(number): c.scale for number, c in enumerate(self.chunks) if c.scale is not None}
        temporary = path.with_suffix(".tmp")
        try:
            # Not flushed: training would wait for the disk, and what a power cut takes is missed by size and sha256.
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


def read_chunks(path: Path, numbers: range) -> Iterator[tuple[StoredChunk, dict[str, int]]]:
    """Chunks of a file, memory-mapped, each with the counts of kept and dropped tokens up to its end."""
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
