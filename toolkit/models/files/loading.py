"""Loads a config or a model into memory from a folder or a hub name; errors say what to do."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path

from nnsight.modeling.tp import max_tp_size
from nnsight.modeling.transformers import TransformersModel
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from toolkit.artifacts import explaining_a_full_disk
from toolkit.library_warnings import ToolkitWarning
from toolkit.models.files.model_files import MAIN, Hub, check_folder, explaining, find_file
from toolkit.models.files.weight_files import check_fit
from toolkit.models.model.fused_norms import fuse_norms
from toolkit.models.model.layers import check_known, truncated
from toolkit.models.places.here import loading_options
from toolkit.models.places.processes import n_processes
from toolkit.models.where import Where
from toolkit.tensor_files import check_finite
from toolkit.tracking import is_watched

LONG_TO_READ = 2**30


def load_config(source: str, hub: Hub = MAIN) -> PreTrainedConfig:
    """Read the text config of the model at `source`.

    Raises `ValueError` for a config that cannot be read, and for a model whose decoder layers are not known.
    """
    return read_config(source, hub).get_text_config()


def read_config(source: str, hub: Hub = MAIN) -> PreTrainedConfig:
    """Read the whole config of the model at `source`; raises `ValueError` as `load_config` does."""
    check_folder(source)
    with explaining(source, "config"):
        find_file(source, "config.json", hub)  # only to say what is wrong with it
        config = AutoConfig.from_pretrained(source, **hub.options())
        check_known(config)
    return config


def load_model(
    source: str,
    tokenizer: PreTrainedTokenizerBase,
    where: Where = Where(),  # noqa: B008 - frozen
    *,
    hub: Hub = MAIN,
    depth: int | None = None,
    shown: bool = True,
) -> TransformersModel:
    """Load the weights at `source` behind nnsight; with `depth` only the first layers, without a head.

    Shows progress where there is much to read, unless `shown` is false. Weights beyond `where.max_memory`, but never
    the embedding, stay on the disk. Without that limit the weights that do not fit stay there, with a warning.
    Raises `ValueError` for a model that cannot be loaded and for weights that are NaN or infinite, `DiskFullError`
    where the offload folder has no room.
    """
    config = read_config(source, hub)
    if where.tensor_parallel:
        _check_divisible(source, config.get_text_config(), n_processes())
    task, loader = ("text-generation", AutoModelForCausalLM) if depth is None else ("feature-extraction", AutoModel)
    if depth is not None:
        config = truncated(config, depth)
    check_fit(source, config, hub, head=depth is None)
    options = loading_options(where) | hub.options()
    with (
        _reporting(source, shown=shown, truncated=depth is not None),
        explaining(source, "weights"),
        _explaining_a_full_folder(where.offload_folder),
    ):
        module = loader.from_pretrained(source, config=config, **options)
    _check_embedding(source, module, where)
    check_finite(f"the model in {source!r}", dict(module.named_parameters()))
    if where.max_memory is None:
        _warn_of_slow_weights(source, module)
    fuse_norms(module)
    try:
        return behind_nnsight(module, tokenizer, task)
    except ImportError as error:  # nnsight looks for the plan of a split model where that transformers has it
        if not where.tensor_parallel:
            raise
        raise ValueError(
            f"nnsight {version('nnsight')} cannot trace layers that transformers {version('transformers')} has split"
            f" ({error}): install another, as `pip install 'transformers>=5.19,<5.23'`, or leave out tensor_parallel"
        ) from error


def behind_nnsight(
    module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: str = "text-generation"
) -> TransformersModel:
    """Wrap a model in memory for nnsight, where it is: left alone, its pipeline would move it to the first GPU."""
    placed = getattr(module, "hf_device_map", None) is not None
    return TransformersModel(module, task=task, tokenizer=tokenizer, **({} if placed else {"device": module.device}))


def _check_divisible(source: str, config: PreTrainedConfig, n: int) -> None:
    """Raise `ValueError` where a model cannot be split over `n` processes: each would silently load all of it."""
    most = max_tp_size(config)
    if most is None or most % n:
        able = f"can be split in {most} or a divisor of that" if most else "cannot be split (too few heads, or no plan)"
        raise ValueError(
            f"the layers of {source!r} {able}, and these are {n} processes: start others (--nproc-per-node), or leave"
            " out tensor_parallel"
        )


@contextmanager
def _reporting(source: str, *, shown: bool, truncated: bool) -> Iterator[None]:
    """Show transformers' progress bar on a terminal where there is much to read, and hide reports that are expected.

    It is expected that a truncated model lacks layers, and that weights stay on the disk where a limit was set.
    """
    files = Path(source).glob("*.safetensors") if Path(source).is_dir() else []
    long = sum(file.stat().st_size for file in files) > LONG_TO_READ or not Path(source).is_dir()
    before, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    dispatching = logging.getLogger("accelerate.big_modeling")
    _switch_bar(shown and before and long and sys.stderr.isatty() and not is_watched())
    dispatching.disabled = True
    if truncated:
        transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        dispatching.disabled = False
        transformers_logging.set_verbosity(level)
        _switch_bar(before)


def _switch_bar(on: bool) -> None:
    (transformers_logging.enable_progress_bar if on else transformers_logging.disable_progress_bar)()


def _explaining_a_full_folder(folder: Path | None) -> AbstractContextManager[None]:
    if folder is None:
        return nullcontext()
    return explaining_a_full_disk(folder, lambda: ": free some space, or name another --offload-folder")


def _warn_of_slow_weights(source: str, module: PreTrainedModel) -> None:
    """Warn of weights that lie where passes read them slowly, although no limit was set."""
    places = {str(place) for place in getattr(module, "hf_device_map", {}).values()}
    slow = places & {"disk"} or (places & {"cpu"} if len(places) > 1 else set())
    if slow:
        kind = str(module.dtype).removeprefix("torch.")
        warnings.warn(
            f"no room for all weights of {source!r} as {kind}: the rest is read from the {min(slow)} at every pass,"
            " which is slow. bfloat16 takes half of float32 (--dtype), one model at a time half of two (--sequential)",
            ToolkitWarning,
            stacklevel=3,
        )


def _check_embedding(source: str, module: PreTrainedModel, where: Where) -> None:
    """Raise `ValueError` for an embedding that is not in memory."""
    embedding: Tensor = module.get_input_embeddings().weight
    if embedding.device.type == "meta":
        gigabytes = embedding.numel() * embedding.itemsize / 1e9
        limit = "what is free" if where.max_memory is None else f"max_memory {where.max_memory}"
        raise ValueError(
            f"{limit} leaves no room for the embedding of {source!r}, which takes {gigabytes:.2g} GB and stays in"
            " memory: raise it to that and the size of a layer at least"
        )
