"""What makes hours of operations: rates measured on a GPU, this machine's, or one that is assumed."""

import math
import time
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from toolkit.devices import default_device
from toolkit.dictionaries.configs import Precision
from toolkit.dictionaries.rules import Sparsity
from toolkit.experiments.costs import RunCostsConfig
from toolkit.training.costs import PlannedRun

HOUR = 3600
OF_PRODUCTS = "matrix products alone, neither memory's speed, nor bytes moved, nor waiting"
OF_STEPS = (
    "reading the models and training steps, one after the other, in bf16 rows of 2,048 tokens and batches of 2,048 of"
    " the 1.5B pair's width; other sizes are scaled from these. Loading, evaluation and bytes moved are left out"
)
TORCH_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class StepTimes(NamedTuple):
    """Seconds of a training step at each number of latents in `MeasuredRates.latents`."""

    fewer_latents: float
    more_latents: float


@dataclass(frozen=True, kw_only=True)
class MeasuredRates:
    """What one device gave in one run of `tests/benchmarks/gpu.py`, with random weights."""

    device: str
    """What it was measured on, and when."""
    reading: dict[float, float]
    """By operations a token, of both models to their site: the tokens a second that were read."""
    width: int
    """Streams × d_model of the steps."""
    batch_tokens: int
    """Tokens of a step."""
    latents: tuple[int, int]
    """Numbers of latents of the steps."""
    steps: dict[tuple[Sparsity, Precision], StepTimes]
    """Seconds of a step."""

    def reading_seconds(self, run: PlannedRun) -> float:
        """Seconds a token; between models that were measured, the rate of operations is interpolated by size."""
        flops = run.harvest_flops / run.tokens
        sizes = [math.log(each) for each in self.reading]
        rates = [each * tokens for each, tokens in self.reading.items()]
        return flops / float(np.interp(math.log(flops), sizes, rates))

    def training_seconds(self, run: PlannedRun) -> float:
        """Seconds a token of all seeds; what a step takes grows with streams × d_model × latents, from a fixed part."""
        training = run.training
        few, many = self.steps[training.sparsity, training.precision]
        grown = run.width * training.n_latents / self.width - self.latents[0]
        step = few + grown * (many - few) / (self.latents[1] - self.latents[0])
        return run.seeds * step / self.batch_tokens


H100 = MeasuredRates(
    device="an H100 80GB, 2026-11-26, torch 2.11",
    reading={2.98e9: 136e3, 1.39e10: 38.0e3, 2.85e10: 18.4e3},
    width=2 * 1536,
    batch_tokens=2048,
    latents=(32_768, 65_536),
    steps={
        ("batchtopk", "bf16"): StepTimes(10.7e-3, 18.5e-3),
        ("topk", "bf16"): StepTimes(9.6e-3, 18.4e-3),
        ("l1", "bf16"): StepTimes(11.3e-3, 21.6e-3),
        ("jumprelu", "bf16"): StepTimes(11.8e-3, 23.0e-3),
        ("batchtopk", "fp32"): StepTimes(17.5e-3, 30.5e-3),
        ("topk", "fp32"): StepTimes(16.5e-3, 32.1e-3),
        ("l1", "fp32"): StepTimes(46.7e-3, 91.1e-3),
        ("jumprelu", "fp32"): StepTimes(47.1e-3, 92.1e-3),
    },
)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Seconds a token of reading both models and of training, one after the other, and where the figures come from."""

    reading: float
    training: float
    origin: str
    """Assumed, or measured on what."""
    counted: str
    """What hours count, and what they leave out."""

    def hours(self, tokens: int, *, readings: int = 1, trainings: int = 1) -> float:
        """Hours of one device that reads so many tokens this often, and trains so many crosscoders on them."""
        return tokens * (readings * self.reading + trainings * self.training) / HOUR


def choose_rate(settings: RunCostsConfig, run: PlannedRun) -> Rate:
    """The assumed rate, an H100's, or this machine's: a CPU reads models in fp32, a GPU in bf16, as the recipes do."""
    if settings.tflops is not None:
        flops = settings.tflops * 1e12
        return _rate_of_products(run, flops, flops, f"assumed: {settings.tflops:g} TFLOP/s in matrix products")
    if settings.rates == "h100":
        return Rate(
            reading=H100.reading_seconds(run),
            training=H100.training_seconds(run),
            origin=f"measured on {H100.device}",
            counted=OF_STEPS,
        )
    device = default_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"this CPU, threads: {torch.get_num_threads()}"
    reading: Literal["fp32", "bf16"] = "bf16" if device.type == "cuda" else "fp32"
    rates = {kind: matrix_rate(device, TORCH_TYPES[kind]) for kind in {reading, settings.precision}}
    said = ", ".join(f"{kind} {flops / 1e12:.3g} TFLOP/s" for kind, flops in rates.items())
    origin = f"measured on {name} in matrix products: {said}"
    return _rate_of_products(run, rates[reading], rates[settings.precision], origin)


def _rate_of_products(run: PlannedRun, reading: float, training: float, origin: str) -> Rate:
    return Rate(
        reading=run.harvest_flops / run.tokens / reading,
        training=run.training_flops / run.tokens / training,
        origin=origin,
        counted=OF_PRODUCTS,
    )


def matrix_rate(device: torch.device, dtype: torch.dtype, *, size: int = 0, seconds: float = 0.5) -> float:
    """Operations a second in products of square matrices, timed for `seconds` after a warm-up.

    `size` is the matrices' side; by default one that keeps the device busy.
    """
    side = size or (8192 if device.type == "cuda" else 1024)
    left, right = torch.randn(2, side, side, device=device).to(dtype)
    out = torch.mm(left, right)
    _finish(device)
    started, products = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds or not products:
        torch.mm(left, right, out=out)
        _finish(device)
        products += 1
    return products * 2 * side**3 / spent


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
