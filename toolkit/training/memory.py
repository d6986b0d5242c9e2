"""Memory that a run's settings need, computed from shapes and compared with what is free, before anything is loaded.

The models' own weights are not counted: they may be elsewhere, or be read piece by piece.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch

from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.rules.rule import rule_of
from toolkit.harvest.choices import AHEAD
from toolkit.models.files.loading import load_config
from toolkit.models.model.shapes import KNOWN
from toolkit.models.presets import find_pair
from toolkit.models.where import Where
from toolkit.settings.adapter_run import AdapterRunConfig
from toolkit.settings.crosscoder_run import FeedSettings, RunConfig, TextSettings
from toolkit.training.costs import MOMENTS, gradient_bytes, trainer_bytes

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
FP32 = 4


def require_memory(config: RunConfig, plans: Collection[TrainingConfig] = (), ranks: Ranks = ALONE) -> None:
    """Refuse settings of which this process cannot hold its share: `plans` are the crosscoders of one seed.

    The run's settings are read as a whole: seeds, models, layers, text, feed, and where models run.

    Raises:
        ValueError: names the setting that takes most, what it takes and what there is; or as `load_config` does.
    """
    sources = find_pair(config.models.pair, config.models.base, config.models.distilled)
    d_model = (KNOWN.get(sources.base) or load_config(sources.base)).hidden_size
    all_plans, n_streams = [*plans] * config.seeds, 2 * len(config.layers or sources.layers or (0,))
    parts = memory_parts(config.text, config.feed, all_plans, n_streams=n_streams, d_model=d_model)
    shared = {"--batch-tokens", "--buffer-tokens"} | ({"--n-latents"} if config.feed.shard == "latents" else set())
    parts = {name: size // ranks.size if name in shared else size for name, size in parts.items()}
    copy = copied_parts(config.feed, all_plans, n_streams=n_streams, d_model=d_model) if ranks.size == 1 else {}
    if copy and gpu_of(config.where):
        _require(copy, this_machine(), config, plans)
        copy = {}
    whole = {name: size + copy.get(name, 0) for name, size in parts.items()}
    _require(whole, memory_there(config.where), config, plans)


def _require(
    parts: Mapping[str, int], there: tuple[int, str], config: RunConfig, plans: Collection[TrainingConfig]
) -> None:
    """Refuse settings that take more bytes, by setting, than `there` are at a place by name."""
    (limit, place), total = there, sum(parts.values())
    if total <= limit:
        return
    largest = max(parts, key=lambda name: parts[name])
    given = {
        "--n-latents": _each(plan.n_latents for plan in plans),
        "--batch-tokens": _each(plan.batch_tokens for plan in plans),
        "--buffer-tokens": config.feed.buffer_tokens,
        "--forward-tokens": config.text.forward_tokens,
    }
    grows = config.seeds > 1 and largest in ("--n-latents", "--batch-tokens")
    raise ValueError(
        f"{largest} {given[largest]} takes {parts[largest] / 1e9:,.1f} GB of memory, and all"
        f" settings take {total / 1e9:,.1f} GB, but {place} has {limit / 1e9:,.1f} GB: lower {largest}"
        + (f", or --seeds {config.seeds}" if grows else "")
    )


def require_adapter_memory(config: AdapterRunConfig, ranks: Ranks = ALONE) -> None:
    """Refuse an adapter that does not fit where it is trained: weights, gradients and the optimiser's memory.

    Of a process alone its checkpoints are copied, too: all but the gradients, in this machine's memory.

    Raises:
        ValueError: names what it takes and what there is; or as `load_config` does.
    """
    sources = find_pair(config.models.pair, config.models.base, config.models.distilled)
    shape = KNOWN.get(sources.distilled) or load_config(sources.distilled)
    weights = (2 * shape.hidden_size + 1) * config.training.n_latents + shape.hidden_size
    one = FP32 * shape.num_hidden_layers * weights
    held = (2 + MOMENTS if config.training.optimiser == "adamw" else 3) * one
    copy = held - one if ranks.size == 1 else 0
    places = [(held, memory_there(config.where)), (copy, this_machine())]
    if not gpu_of(config.where):
        places = [(held + copy, memory_there(config.where))]
    for total, (there, place) in places:
        if total > there:
            raise ValueError(
                f"--n-latents {config.training.n_latents} takes {total / 1e9:,.1f} GB of memory, but {place} has"
                f" {there / 1e9:,.1f} GB: lower --n-latents"
            )


def memory_parts(
    text: TextSettings, feed: FeedSettings, plans: Collection[TrainingConfig], *, n_streams: int, d_model: int
) -> dict[str, int]:
    """Bytes that all processes take together, by the setting that decides them; each has forward passes of its own."""
    width = n_streams * d_model
    dictionaries = activations = 0
    for plan in plans:
        matrices = rule_of(plan.sparsity).dense_matrices
        scaled_encoder = FP32 * plan.n_latents * width
        dictionaries += trainer_bytes(plan, width, n_streams) + gradient_bytes(plan, width) + scaled_encoder
        errors = 3 if plan.difference_weight else 2  # the error, its gradient, and that of the difference
        activations += FP32 * plan.batch_tokens * (matrices * plan.n_latents + errors * width)
    return {
        "--n-latents": dictionaries,
        "--batch-tokens": activations,
        "--buffer-tokens": _buffer_bytes(feed, width) if dictionaries else 0,
        "--forward-tokens": FP32 * (AHEAD + 1) * text.forward_tokens * width,
    }


def copied_parts(
    feed: FeedSettings, plans: Collection[TrainingConfig], *, n_streams: int, d_model: int
) -> dict[str, int]:
    """Bytes of the copy from which a thread writes a checkpoint, in this machine's memory, by the same settings.

    With 32,768 latents and a full buffer of 262,144 in bf16: 4.0 GB for a pair of 1.5B, 9.4 GB of 7B, 13.4 GB of 14B;
    pinned memory takes more, see `Copies`.
    """
    width = n_streams * d_model
    states = sum(trainer_bytes(plan, width, n_streams) for plan in plans)
    return {"--n-latents": states, "--buffer-tokens": _buffer_bytes(feed, width) if plans else 0}


def _buffer_bytes(feed: FeedSettings, width: int) -> int:
    return (2 if feed.buffer_dtype == "bf16" else FP32) * feed.buffer_tokens * width


def gpu_of(where: Where) -> torch.device | None:
    """The GPU that training is on, if it is on one."""
    place = str(where.of("distilled").device_map)
    if not torch.cuda.is_available() or place == "cpu":
        return None
    return torch.device(place if place.startswith("cuda") else "cuda")


def memory_there(where: Where) -> tuple[int, str]:
    """Bytes of memory that this process may take where it trains, and the name of that place."""
    device = gpu_of(where)
    if device is None:
        return this_machine()
    return torch.cuda.get_device_properties(device).total_memory, f"the GPU {device}"


def this_machine() -> tuple[int, str]:
    """Bytes of this machine's memory that the process may take, and what it is called."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [Path(limit).read_text().strip() for limit in CGROUP_LIMITS if Path(limit).is_file()]
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    share = "" if processes == 1 else f" for each of {processes} processes"
    return min(there, *map(int, filter(str.isdecimal, limits)), there) // processes, f"this machine{share}"


def _each(values: Iterable[int]) -> str:
    return " ".join(map(str, dict.fromkeys(values)))
