"""From a folder or a hub name to a config, a tokenizer and weights, or an error that says what to do."""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import constants
from nnsight.modeling.tp import max_tp_size
from nnsight.modeling.transformers import TransformersModel
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from toolkit.artifacts import DiskFullError, explaining_a_full_disk, sha256
from toolkit.library_warnings import ToolkitWarning
from toolkit.models.layers import truncated
from toolkit.models.placement import Placement
from toolkit.models.processes import n_processes
from toolkit.tracking import is_watched

LONG_TO_READ = 2**30

Loaded = TypeVar("Loaded")


def load_config(source: str) -> PreTrainedConfig:
    """Read the text config of the model at `source`; raises `ValueError` if that cannot be done."""
    _check_folder(source)
    return _load(source, "config", lambda: AutoConfig.from_pretrained(source)).get_text_config()


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer at `source`; raises `ValueError` if that cannot be done."""
    # Not AutoTokenizer: for any Qwen2 model transformers 5 puts Qwen's own splitting rules in place of
    # those in tokenizer.json, and where there is no tokenizer it makes an empty one.
    return _load(source, "tokenizer", lambda: PreTrainedTokenizerFast.from_pretrained(source))


def load_model(
    source: str,
    tokenizer: PreTrainedTokenizerBase,
    placement: Placement = Placement(),  # noqa: B008 - frozen
    *,
    depth: int | None = None,
    shown: bool = True,
) -> TransformersModel:
    """Load the weights at `source` behind nnsight, without a head and only the first `depth` layers if that is given.

    Shows progress where there is much to read, if it may be `shown`. Weights beyond `placement.max_memory` stay on the
    disk, but never the embedding; without that limit those for which there is no room, of which it warns.
    Raises `ValueError` if that cannot be done, `DiskFullError` for an offload folder without room.
    """
    if placement.tensor_parallel:
        _check_divisible(source, n_processes())
    task, loader = ("text-generation", AutoModelForCausalLM) if depth is None else ("feature-extraction", AutoModel)

    def load() -> tuple[PreTrainedModel, dict[str, Any]]:
        options = placement.options()
        if depth is not None:
            options["config"] = truncated(AutoConfig.from_pretrained(source), depth)
        with _explaining_a_full_folder(placement.offload_folder):
            return loader.from_pretrained(source, output_loading_info=True, **options)

    with _reporting(source, shown=shown, truncated=depth is not None):
        module, info = _load(source, "weights", load)
    _check_weights(source, module, set(info["missing_keys"]), placement.max_memory)
    if placement.max_memory is None:
        _warn_of_slow_weights(source, module)
    try:
        return TransformersModel(module, task=task, tokenizer=tokenizer)
    except ImportError as error:  # nnsight looks for the plan of a split model where that transformers has it
        if not placement.tensor_parallel:
            raise
        raise ValueError(
            f"nnsight {version('nnsight')} cannot trace layers that transformers {version('transformers')} has split"
            f" ({error}): install another, as `pip install 'transformers>=5.19,<5.23'`, or leave out tensor_parallel"
        ) from error


def _check_divisible(source: str, n: int) -> None:
    """Refuse a number of processes over which a model cannot be split: each would silently load all of it."""
    most = max_tp_size(load_config(source))
    if most is None or most % n:
        able = f"can be split in {most} or a divisor of that" if most else "cannot be split (too few heads, or no plan)"
        raise ValueError(
            f"the layers of {source!r} {able}, and these are {n} processes: start others (--nproc-per-node), or leave"
            " out tensor_parallel"
        )


def fingerprint(source: str, *, remote: bool = False) -> dict[str, str]:
    """Sha256 of each weights file in a local folder; for a hub repository its commit, which fixes them.

    Of a `remote` model no weights are here: then the commit, or the sha256 of the local config.
    """
    if not Path(source).is_dir():
        said = f"commit {getattr(load_config(source), '_commit_hash', None)}"
        return {source: f"remote, {said}" if remote else said}
    if remote:
        config = Path(source) / "config.json"
        return {str(config): f"remote, sha256 of the config here {sha256(config)}"}
    return {str(path): sha256(path) for path in sorted(Path(source).glob("*.safetensors"))}


def _load(source: str, part: str, loader: Callable[[], Loaded]) -> Loaded:
    try:
        return loader()
    except DiskFullError:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        if Path(source).exists():
            raise ValueError(f"cannot load the {part} of the model in {source!r}: {error}") from error
        offline = " (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else ""
        raise ValueError(
            f"{source!r} is no local folder, and its {part} could not be had from the Hugging Face hub"
            f"{offline}. Connect to the network, or download the model elsewhere and give the path of its "
            f"folder. The hub said: {error}"
        ) from error


@contextmanager
def _reporting(source: str, *, shown: bool, truncated: bool) -> Iterator[None]:
    """Show transformers' bar on a terminal where there is much to read, and nothing that is no news.

    That a truncated model lacks layers is no news, nor that weights stay on the disk where a limit was set.
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
    """Warn of weights that lie where no pass reads them fast, though nobody set a limit."""
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


def _check_weights(source: str, module: PreTrainedModel, missing: set[str], max_memory: str | None) -> None:
    """Raise `ValueError` for weights that no file held, and for an embedding that is not in memory."""
    if missing:
        raise ValueError(
            f"the weights in {source!r} lack {len(missing)} tensors, such as {min(missing)}: its config.json describes"
            " another model, or its files are incomplete. Copy it again"
        )
    embedding: Tensor = module.get_input_embeddings().weight
    if embedding.device.type == "meta":
        gigabytes = embedding.numel() * embedding.itemsize / 1e9
        limit = "what is free" if max_memory is None else f"max_memory {max_memory}"
        raise ValueError(
            f"{limit} leaves no room for the embedding of {source!r}, which takes {gigabytes:.2g} GB and stays in"
            " memory: raise it to that and the size of a layer at least"
        )


def _check_folder(source: str) -> None:
    """Refuse what is meant as a local folder but is none, or cannot be read."""
    folder = Path(source)
    meant_as_path = folder.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1
    try:
        if folder.is_dir():
            (folder / "config.json").read_bytes()
        elif folder.exists():
            raise ValueError(f"{source!r} is a file: give the folder that holds config.json and the weights")
        elif meant_as_path:
            raise ValueError(f"no model folder at {source!r}: it does not exist. Check the path")
    except PermissionError as error:
        raise ValueError(f"no permission to read {source!r}: check its owner and mode") from error
    except FileNotFoundError as error:
        raise ValueError(f"{source!r} holds no config.json: give a folder that save_pretrained wrote") from error
