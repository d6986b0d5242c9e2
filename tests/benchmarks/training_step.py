"""Time of one training step against the matrix rate of this machine, on one thread.

The floor is five fp32 matrix products of the step's shapes: what a dense step computes at the least.
All sides are timed in turn, in one run, as medians of CPU time.
"""

from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
from timing import time_in_turn

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.rules import Sparsity
from toolkit.dictionaries.training import CrosscoderTrainer

D_MODEL, N_MODELS, N_LATENTS, BATCH, K = 256, 2, 8192, 2048, 100
ROUNDS = 7


@cache
def seconds() -> dict[str, float]:
    """Measure each side once a process: CPU seconds a step."""
    return time_in_turn(sides(), ROUNDS)


def ratios() -> dict[str, float]:
    """Return each step's time as a multiple of the five products' time."""
    floor, l1, batchtopk, batchtopk_bf16 = seconds().values()
    return {
        "l1_over_floor": l1 / floor,
        "batchtopk_over_l1_floor": batchtopk / floor,
        "batchtopk_bf16_over_l1_floor": batchtopk_bf16 / floor,
    }


def sides() -> dict[str, Callable[[], object]]:
    """Return what is timed: the floor and one training step of each kind."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, N_MODELS, D_MODEL, generator=generator)
    return {
        "step: floor, five products": five_products(x.flatten(1), generator),
        "step: l1": step(x, "l1", "fp32"),
        "step: batchtopk": step(x, "batchtopk", "fp32"),
        "step: batchtopk, bf16": step(x, "batchtopk", "bf16"),
    }


def five_products(x: torch.Tensor, generator: torch.Generator) -> Callable[[], None]:
    """Encode, decode, code gradient and both weight gradients, written into buffers that exist already."""
    weights = torch.randn(N_LATENTS, x.shape[1], generator=generator)
    codes, decoded, gradient = torch.empty(BATCH, N_LATENTS), torch.empty_like(x), torch.empty_like(weights)

    def run() -> None:
        torch.mm(x, weights.t(), out=codes)
        torch.mm(codes, weights, out=decoded)
        torch.mm(x, weights.t(), out=codes)
        torch.mm(codes.t(), x, out=gradient)
        torch.mm(codes.t(), x, out=gradient)

    return run


def step(x: torch.Tensor, sparsity: Sparsity, precision: Literal["fp32", "bf16"]) -> Callable[[], object]:
    """Return one whole training step: forward, backward, clipping, metrics and optimiser."""
    config = TrainingConfig(
        sparsity=sparsity,
        precision=precision,
        batch_tokens=BATCH,
        n_latents=N_LATENTS,
        k=K,
        k_anneal_steps=0,
        decoder_init_norm=0.08,
    )
    state = initialise(config, N_MODELS, x, torch.Generator().manual_seed(1))
    trainer = CrosscoderTrainer(config, state, models=("base", "distilled"), layers=(0,))
    return lambda: trainer.step(x)
