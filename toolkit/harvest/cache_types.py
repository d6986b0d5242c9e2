"""The types in which a cache stores activations, and what each of them loses."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from toolkit.harvest.choices import CacheType

DTYPES: dict[CacheType, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}
LARGEST_INT8 = 127


class StoredChunk(NamedTuple):
    """Activations as they lie on the disk."""

    values: Shaped[Tensor, "token stream d_model"]
    """fp32, bf16, or int8 in units of `scale`."""
    scale: Float[Tensor, "token stream"] | None = None
    """What 1 stands for in each vector of int8."""

    def to(self, device: torch.device) -> "StoredChunk":
        """The same on another device."""
        return StoredChunk(self.values.to(device), None if self.scale is None else self.scale.to(device))

    def restore(self) -> Float[Tensor, "token stream d_model"]:
        """The activations: those of fp32 and bf16 as stored, those of int8 in fp32."""
        return self.values if self.scale is None else self.values * self.scale[:, :, None]

    @property
    def nbytes(self) -> int:
        """Bytes on the disk."""
        return self.values.nbytes + (0 if self.scale is None else self.scale.nbytes)


def store(activations: Float[Tensor, "token stream d_model"], kind: CacheType) -> StoredChunk:
    """Cast activations; int8 takes the largest magnitude of each vector for 127, and keeps NaN and infinity as NaN."""
    if kind != "int8":
        return StoredChunk(activations.to(DTYPES[kind]).contiguous())
    x = activations.float()
    scale = x.abs().amax(dim=2) / LARGEST_INT8
    values = (x / scale.where(scale != 0, 1)[:, :, None]).round().nan_to_num(0).to(torch.int8)
    return StoredChunk(values, scale)


def squared_norms(activations: Float[Tensor, "token stream d_model"], stored: StoredChunk) -> tuple[float, float]:
    """The squared norm that storing lost, and that of the activations, both summed; NaN or infinity stays in them."""
    lost = (activations.float() - stored.restore().float()).norm(dim=2)
    lost_and_all = torch.stack([lost, activations.float().norm(dim=2)]).double().square().sum(dim=(1, 2))
    first, second = lost_and_all.tolist()
    return first, second


def bytes_a_token(kind: CacheType, n_streams: int, d_model: int) -> int:
    """Bytes that one token's activations take, on the disk or over the wire."""
    return n_streams * (d_model * DTYPES[kind].itemsize + (4 if kind == "int8" else 0))
