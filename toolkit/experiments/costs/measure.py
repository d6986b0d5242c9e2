"""What would a run cost, and how does each way of running it change that?"""

import math
from dataclasses import dataclass

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.experiments.costs import PlannedModels, RunCostsConfig
from toolkit.experiments.costs.rates import Rate, choose_rate
from toolkit.harvest.choices import CacheType
from toolkit.models.model.layers import check_layers
from toolkit.models.model.shapes import shape_of
from toolkit.models.places.here import size_in_bytes
from toolkit.models.places.one_at_a_time import BLOCK_TOKENS
from toolkit.models.presets import find_pair
from toolkit.training.costs import PlannedRun

GIGA = 1e9


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
    """A planned run, the ways of doing it, and the rate that makes hours of tokens."""

    run: PlannedRun
    modes: list[Mode]
    rate: Rate


def measure(settings: RunCostsConfig, opened: None = None) -> Costs:
    """Compute operations and bytes of every way, and time this machine's matrix products where its rates are asked for.

    Raises `ValueError` for models, layers, sizes or settings of training that there are not.
    """
    run = planned_run(settings)
    ways = modes(run, max_memory=size_in_bytes(settings.max_memory), sweep=settings.sweep)
    return Costs(run=run, modes=ways, rate=choose_rate(settings, run))


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
