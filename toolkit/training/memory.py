"""Memory that a run's settings need, computed from shapes and compared with what is free, before anything is loaded.

The models' own weights are not counted: they may be elsewhere, or be read piece by piece.
"""

import os
from collections import Counter
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
from toolkit.training.costs import MOMENTS, gradient_bytes, pinned, state_sizes, trainer_bytes

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
    sizes = {"n_streams": n_streams, "d_model": d_model}
    parts = memory_parts(config.text, config.feed, all_plans, **sizes)
    shared = {"--batch-tokens", "--buffer-tokens"} | ({"--n-latents"} if config.feed.shard == "latents" else set())
    parts = {name: size // ranks.size if name in shared else size for name, size in parts.items()}
    on_gpu = gpu_of(config.where) is not None
    copy = copied_parts(config.text, config.feed, all_plans, in_pinned_memory=on_gpu, **sizes)
    given = {
        "--n-latents": _each(plan.n_latents for plan in plans),
        "--batch-tokens": _each(plan.batch_tokens for plan in plans),
        "--buffer-tokens": str(config.feed.buffer_tokens),
        "--forward-tokens": str(config.text.forward_tokens),
    }
    _require(parts, copy if ranks.size == 1 else {}, config.where, given, config.seeds)


def require_adapter_memory(config: AdapterRunConfig, ranks: Ranks = ALONE) -> None:
    """Refuse an adapter that does not fit where it is trained: weights, gradients and the optimiser's memory.

    Of a process alone its checkpoints are copied, too: all but the gradients, in this machine's memory.

    Raises:
        ValueError: names what it takes and what there is; or as `load_config` does.
    """
    sources = find_pair(config.models.pair, config.models.base, config.models.distilled)
    shape = KNOWN.get(sources.distilled) or load_config(sources.distilled)
    n, d_model = config.training.n_latents, shape.hidden_size
    weights = [FP32 * size for size in (n * d_model, n, n * d_model, d_model)] * shape.num_hidden_layers
    kept = 1 + MOMENTS if config.training.optimiser == "adamw" else 2
    copied = kept * sum(map(pinned, weights) if gpu_of(config.where) else weights)
    held, copy = {"--n-latents": (1 + kept) * sum(weights)}, {"--n-latents": copied}
    _require(held, copy if ranks.size == 1 else {}, config.where, {"--n-latents": str(n)})


def _require(
    held: Mapping[str, int], copy: Mapping[str, int], where: Where, given: Mapping[str, str], seeds: int = 1
) -> None:
    """Refuse settings that take more memory than there is: bytes that are `held` where training is, and of the `copy`
    of a checkpoint, which is in this machine's memory, by setting; `given` are their values."""
    if gpu_of(where):
        _require_at(this_machine(), {}, copy, given, seeds)
        copy = {}
    _require_at(memory_there(where), held, copy, given, seeds)


def _require_at(
    there: tuple[int, str], held: Mapping[str, int], copy: Mapping[str, int], given: Mapping[str, str], seeds: int
) -> None:
    both = Counter(held) + Counter(copy)
    (limit, place), total, copied = there, both.total(), sum(copy.values())
    if total <= limit:
        return
    largest = max(both, key=lambda name: both[name])
    whole = f", and all settings take {total / 1e9:,.1f} GB" if len(both) > 1 else ""
    if copied:
        whole += (
            f", {f'{copied / 1e9:,.1f} GB' if held else 'all'} of it for the copy that a checkpoint is written from"
        )
    grows = seeds > 1 and largest in ("--n-latents", "--batch-tokens")
    raise ValueError(
        f"{largest} {given[largest]} takes {both[largest] / 1e9:,.1f} GB of memory{whole}, but {place} has"
        f" {limit / 1e9:,.1f} GB: lower {largest}" + (f", or --seeds {seeds}" if grows else "")
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
    text: TextSettings,
    feed: FeedSettings,
    plans: Collection[TrainingConfig],
    *,
    n_streams: int,
    d_model: int,
    in_pinned_memory: bool,
) -> dict[str, int]:
    """Bytes of the copy from which a thread writes a checkpoint, in this machine's memory, by the same settings.

    With 32,768 latents and a full buffer of 262,144 in bf16, for a pair of 1.5B, 7B and 14B: 4.2, 9.9 and 14.1 GB, and
    5.6, 11.3 and 22.5 GB in pinned memory, where the copy lies if training is on a GPU.
    """
    width, shards = n_streams * d_model, feed.shards or 1
    rounded = pinned if in_pinned_memory else int
    states = sum(rounded(size) for plan in plans for size in state_sizes(plan, width, n_streams))
    if not states:
        return {}
    return {
        "--n-latents": states,
        "--buffer-tokens": shards * rounded(_buffer_bytes(feed, width) // shards),
        "--forward-tokens": shards * rounded(FP32 * text.forward_tokens * width),  # read, not yet in the full buffer
    }


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
