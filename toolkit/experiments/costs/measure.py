"""What would a run cost, and how does each way of running it change that?"""

import math
import time
from dataclasses import dataclass
from typing import Literal

import torch

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.experiments.costs import PlannedModels, RunCostsConfig
from toolkit.harvest.choices import CacheType
from toolkit.models.model.layers import check_layers
from toolkit.models.model.shapes import shape_of
from toolkit.models.places.here import size_in_bytes
from toolkit.models.places.one_at_a_time import BLOCK_TOKENS
from toolkit.models.presets import find_pair
from toolkit.training.costs import PlannedRun

GIGA, HOUR = 1e9, 3600
TORCH_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Operations a second of harvest and training, and where the figures come from."""

    harvest: float
    training: float
    origin: str
    """One sentence: assumed, or measured on what."""

    def hours(self, harvest_flops: int, training_flops: int) -> float:
        """Hours of one device at these rates."""
        return (harvest_flops / self.harvest + training_flops / self.training) / HOUR


def choose_rate(settings: RunCostsConfig) -> Rate:
    """The assumed rate, or this machine's: a CPU reads models in fp32, a GPU in bf16, as the recipes do."""
    if settings.tflops is not None:
        flops = settings.tflops * 1e12
        return Rate(harvest=flops, training=flops, origin=f"assumed: {settings.tflops:g} TFLOP/s")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"this CPU, threads: {torch.get_num_threads()}"
    reading: Literal["fp32", "bf16"] = "bf16" if device.type == "cuda" else "fp32"
    rates = {kind: matrix_rate(device, TORCH_TYPES[kind]) for kind in {reading, settings.precision}}
    said = ", ".join(f"{kind} {flops / 1e12:.3g} TFLOP/s" for kind, flops in rates.items())
    return Rate(
        harvest=rates[reading],
        training=rates[settings.precision],
        origin=f"measured on {name} in matrix products: {said}",
    )


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One way of doing a planned run, and what it takes on this machine, not on a server."""

    name: str
    harvests: int = 1
    """How often the whole text is read here."""
    trainings: int = 1
    """Crosscoders that are trained."""
    resident: int = 0
    """Bytes of models' weights in memory at once."""
    moved: int = 0
    """Bytes of weights or activations that are read from a disk or come over a network."""
    stored: int = 0
    """Bytes of weights and cached activations that lie on the disk."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """A planned run, the ways of doing it, and the rate that makes hours of operations."""

    run: PlannedRun
    modes: list[Mode]
    rate: Rate


def measure(settings: RunCostsConfig, opened: None = None) -> Costs:
    """Compute operations and bytes of every way, and time this machine's matrix products where no rate is assumed.

    Raises `ValueError` for models, layers, sizes or settings of training that there are not.
    """
    run = planned_run(settings)
    ways = modes(run, max_memory=size_in_bytes(settings.max_memory), sweep=settings.sweep)
    return Costs(run=run, modes=ways, rate=choose_rate(settings))


def planned_run(settings: RunCostsConfig) -> PlannedRun:
    """The run, from the models' configs alone; raises `ValueError` as `measure`."""
    named = settings.models if settings.models.are_named() else PlannedModels(pair="qwen-1.5b")
    preset = find_pair(named.pair, named.base, named.distilled)
    models = tuple(shape_of(source) for source in preset.models)
    layers = settings.layers or preset.layers or (models[0].n_layers // 2,)
    check_layers(layers, models[0].n_layers)
    return PlannedRun(
        models=models,
        layers=layers,
        training=TrainingConfig(
            sparsity=settings.sparsity,
            tokens=settings.tokens,
            batch_tokens=settings.batch_tokens,
            n_latents=settings.n_latents,
            k=settings.k,
            precision=settings.precision,
        ),
        seeds=settings.seeds,
        row_length=settings.row_length,
        forward_tokens=settings.forward_tokens,
        buffer_tokens=settings.buffer_tokens,
        checkpoint_steps=settings.checkpoint_steps,
    )


def modes(run: PlannedRun, *, max_memory: int, sweep: int) -> list[Mode]:
    """Each mode's costs.

    `max_memory` bytes of each model stay in memory where it is offloaded; `sweep` crosscoders are fed by one stream.
    """
    whole, deep = sum(run.resident_bytes()), run.resident_bytes(run.depth)
    kept = sum(min(size, max_memory) for size in deep)
    turns = math.ceil(run.tokens / BLOCK_TOKENS)
    kinds: tuple[CacheType, ...] = ("bf16", "int8")
    sizes = {kind: run.stored_bytes(kind) for kind in kinds}
    to_site = {"resident": sum(deep), "moved": sum(deep), "stored": whole}
    return [
        Mode(name="whole models", resident=whole, moved=whole, stored=whole),
        Mode(name="models to the site", **to_site),
        Mode(name="--sequential", resident=max(deep), moved=turns * sum(deep), stored=whole),
        Mode(
            name=f"--max-memory {max_memory / GIGA:g}GB",
            resident=kept,
            moved=kept + run.passes * (sum(deep) - kept),
            stored=whole,
        ),
        *(Mode(name=f"--remote, {kind}", harvests=0, moved=size) for kind, size in sizes.items()),
        *(Mode(name=f"caching, {kind}", **to_site | {"stored": whole + size}) for kind, size in sizes.items()),
        *(Mode(name=f"cached, {kind}", harvests=0, moved=size, stored=size) for kind, size in sizes.items()),
        Mode(name=f"sweep of {sweep}", trainings=sweep, **to_site),
        Mode(name=f"{sweep} runs apart", harvests=sweep, trainings=sweep, **to_site | {"moved": sweep * sum(deep)}),
    ]


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
