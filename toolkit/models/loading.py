"""From a folder or a hub name to a config, a tokenizer and weights, or an error that says what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from huggingface_hub import constants
from nnsight.modeling.transformers import TransformersModel
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from toolkit.artifacts import sha256

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
    source: str, tokenizer: PreTrainedTokenizerBase, dtype: str | torch.dtype, device_map: str
) -> TransformersModel:
    """Load the weights at `source` behind nnsight; raises `ValueError` if that cannot be done."""
    if dtype == "auto" and not torch.cuda.is_available():
        dtype = torch.float32  # half precision saves a CPU nothing but accuracy
    options = {"tokenizer": tokenizer, "dtype": dtype, "device_map": device_map, "dispatch": True}
    return _load(source, "weights", lambda: TransformersModel(source, task="text-generation", **options))


def fingerprint(source: str, commit: str | None) -> dict[str, str]:
    """Sha256 of each weights file in a local folder; for a hub repository its commit, which fixes them."""
    if Path(source).is_dir():
        return {str(path): sha256(path) for path in sorted(Path(source).glob("*.safetensors"))}
    return {source: f"commit {commit}"}


def _load(source: str, part: str, loader: Callable[[], Loaded]) -> Loaded:
    try:
        return loader()
    except (OSError, ValueError, SafetensorError) as error:
        if Path(source).exists():
            raise ValueError(f"cannot load the {part} of the model in {source!r}: {error}") from error
        offline = " (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else ""
        raise ValueError(
            f"{source!r} is no local folder, and its {part} could not be had from the Hugging Face hub"
            f"{offline}. Connect to the network, or download the model elsewhere and give the path of its "
            f"folder. The hub said: {error}"
        ) from error


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
