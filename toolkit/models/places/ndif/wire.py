"""How activations cross the wire: functions for a job, sent along as source to a server that knows no toolkit.

They use torch alone, and no type checker wraps them: its code would have to travel too.
"""

from typing import no_type_check

import nnsight
import torch
from torch import Tensor

from toolkit.models.places.ndif.expected_answers import Asked

nnsight.register(__name__)


@no_type_check
def pack(activations: Tensor, wire: str | None) -> list[Tensor]:
    """Return [values] as they are for no wire type; else [values in that type, scales, squared error and square].

    int8 has one scale for each token and layer; error and square are sums over all values.
    """
    if wire is None:
        return [activations]
    exact = activations.float()
    scales = exact.new_zeros(0)
    if wire == "int8":
        scales = exact.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30) / 127
        values = (exact / scales).round().to(torch.int8)
    else:
        values = exact if wire == "fp32" else exact.to(torch.bfloat16)
    error = unpack(values, scales) - exact
    # Of each token and layer in float32, of all in float64: exact enough, and a fifth of the time.
    sums = [torch.linalg.vector_norm(each, dim=-1).double().square().sum() for each in (error, exact)]
    return [values, scales, torch.stack(sums)]


def packed_form(shape: tuple[int, int, int], wire: str | None) -> list[Asked]:
    """What `pack` makes of activations [token, layer, d_model]."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}.get(wire or "")
    if dtype is None:
        return [Asked(shape)]
    scales = (*shape[:2], 1) if wire == "int8" else (0,)
    return [Asked(shape, (dtype,)), Asked(scales, (torch.float32,)), Asked((2,), (torch.float64,))]


@no_type_check
def unpack(values: Tensor, scales: Tensor) -> Tensor:
    """Return the values that `pack` took: bfloat16 as bfloat16, int8 as float32."""
    return values * scales if values.dtype == torch.int8 else values
