"""Time of one training step against the matrix rate of this machine, on one thread.

The floor is five fp32 matrix products of the step's shapes: what a dense step computes at the least.
All sides are timed in turn, in one run, as medians of CPU time.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Literal

import torch

from toolkit.dictionaries.configs import Sparsity, TrainingConfig
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.training import CrosscoderTrainer

D_MODEL, N_MODELS, N_LATENTS, BATCH, K = 256, 2, 8192, 2048, 100
ROUNDS = 7


def ratios() -> dict[str, float]:
    """Print a table of milliseconds a step, and return each step's time as a multiple of the floor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        milliseconds = time_in_turn(sides())
    finally:
        torch.set_num_threads(threads)
    floor = milliseconds["floor"]
    for name, value in milliseconds.items():
        print(f"{name:<16} {value:8.0f} ms a step {value / floor:8.3f} × floor")
    names = {
        "l1": "l1_over_floor",
        "batchtopk": "batchtopk_over_l1_floor",
        "batchtopk_bf16": "batchtopk_bf16_over_l1_floor",
    }
    return {ratio: milliseconds[name] / floor for name, ratio in names.items()}


def sides() -> dict[str, Callable[[], object]]:
    """Return what is timed: the floor and one training step of each kind."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, N_MODELS, D_MODEL, generator=generator)
    return {
        "floor": five_products(x.flatten(1), generator),
        "l1": step(x, "l1", "fp32"),
        "batchtopk": step(x, "batchtopk", "fp32"),
        "batchtopk_bf16": step(x, "batchtopk", "bf16"),
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


def time_in_turn(sides: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median CPU milliseconds of each side over interleaved rounds, after one warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(1 + ROUNDS):
        for name, run in sides.items():
            start = time.thread_time()
            run()
            seconds[name].append(time.thread_time() - start)
    return {name: 1000 * median(values[1:]) for name, values in seconds.items()}


if __name__ == "__main__":
    print(ratios())
