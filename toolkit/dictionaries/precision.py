"""How precisely a training step multiplies matrices: what suits a device, and torch's own switch for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from toolkit.dictionaries.configs import Precision, TrainingConfig

AMPERE = (8, 0)
"""Compute capability of the first NVIDIA GPUs that multiply in bf16 and TF32."""


def resolved(training: TrainingConfig, device: torch.device) -> TrainingConfig:
    """Return the settings with what `precision` auto stands for on this device: bf16 on an accelerator, else fp32.

    A GPU that is too old for bf16 is taken for a CPU. Raises `ValueError` for tf32 on a device that has none.
    """
    if training.precision == "tf32" and not _has_tf32(device):
        raise ValueError(
            f"precision tf32: the device {device} has no TF32, as NVIDIA GPUs of compute capability"
            f" {'.'.join(map(str, AMPERE))} and more have: give fp32 or bf16"
        )
    if training.precision != "auto":
        return training
    return replace(training, precision="fp32" if device.type == "cpu" or _is_old(device) else "bf16")


def rounds_factors(precision: Precision) -> bool:
    """Whether large products round their factors: their scores then say which latents may fire, and no more."""
    return precision in ("tf32", "bf16")


def _has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.version.cuda is not None and not _is_old(device)


def _is_old(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_available() and torch.cuda.get_device_capability(device) < AMPERE


@contextmanager
def multiplying_in(precision: Precision) -> Iterator[None]:
    """Let a GPU multiply fp32 matrices in TF32 inside the block if this is `tf32`, else as they are.

    torch has one switch for all threads; products of bf16 matrices do not heed it. Of its two interfaces to the switch
    this takes the new one, which alone can be read and put back whichever one others have used.
    """
    switch = torch.backends.cuda.matmul
    before = switch.fp32_precision
    switch.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        switch.fp32_precision = before
