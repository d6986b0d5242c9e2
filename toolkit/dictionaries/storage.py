"""Files of a crosscoder: `crosscoder.safetensors` and, under "crosscoder" in `config.json`, its settings."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from os import PathLike
from os.path import expanduser
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor

from toolkit.artifacts import (
    check_hash,
    read_json_object,
    read_section,
    sha256,
)
from toolkit.dictionaries.adapter_storage import ADAPTER_FILE
from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.rules.rule import rule_of
from toolkit.dictionaries.weights_with_settings import CONFIG_FILE, write_weights
from toolkit.tensor_files import read_tensors as read_safetensors

WEIGHTS_FILE = "crosscoder.safetensors"
CONFIG_KEY = "crosscoder"


def shapes(config: CrosscoderConfig) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a crosscoder and their shapes."""
    rows = (config.n_latents, config.n_streams, config.d_model)
    expected = {"W_enc": rows, "b_enc": rows[:1], "W_dec": rows, "b_dec": rows[1:]}
    threshold_shape = rule_of(config.sparsity).threshold_shape
    return expected | ({"threshold": threshold_shape(config.n_latents)} if threshold_shape else {})


def save(config: CrosscoderConfig, tensors: dict[str, Tensor], folder: Path) -> None:
    """Write both files into `folder`, made if need be; other keys of an existing `config.json` are kept.

    Under "sha256" it says what the weights and the settings are, for `load` to compare.

    Raises:
        DiskFullError: there is too little room; files that were there are as they were.
    """
    write_weights(folder, WEIGHTS_FILE, tensors, CONFIG_KEY, asdict(config))


def load(place: Path) -> tuple[CrosscoderConfig, dict[str, Tensor]]:
    """Read settings and tensors from a folder, or from the weights in it; errors as in `from_pretrained`."""
    folder = place.parent if place.name == WEIGHTS_FILE else place
    path, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    config = read_config(path)
    tensors = read_tensors(weights, shapes(config))
    check_hash(weights, WEIGHTS_FILE, sha256(weights), read_json_object(path))  # those of other makers have none
    return config, tensors


def weights_hash(tensors: Mapping[str, Tensor]) -> str:
    """Sha256 of tensors by name, wherever they were read from."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def read_config(path: Path) -> CrosscoderConfig:
    """Read the settings of a crosscoder from `config.json`; ValueError for unknown or missing fields."""
    values = read_section(_existing(path), CONFIG_KEY)
    if not values:
        if (path.parent / ADAPTER_FILE).is_file():
            raise ValueError(f"{path.parent} holds an adapter, no crosscoder: give it to a recipe about adapters")
        raise ValueError(f'{path} has no "{CONFIG_KEY}" section; it is not the config.json of a crosscoder')
    known = {field.name for field in fields(CrosscoderConfig)}
    if unknown := sorted(values.keys() - known):
        raise ValueError(f"{path} has unknown fields {unknown}; known are {sorted(known)}")
    listed = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return CrosscoderConfig(**cast(dict[str, Any], listed))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe a crosscoder: {error}") from error


def read_tensors(path: Path, expected: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Read tensors from a safetensors file; ValueError unless names and shapes are exactly as expected."""
    tensors = read_safetensors(_existing(path), expected="the tensors of a crosscoder")
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != expected:
        raise ValueError(f"{path} does not hold this crosscoder: expected {expected}, found {found}")
    if others := [name for name, tensor in tensors.items() if not tensor.is_floating_point()]:
        raise ValueError(f"{path} holds {tensors[others[0]].dtype} as {others[0]}: expected floating-point numbers")
    return tensors


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; a crosscoder is {WEIGHTS_FILE} beside {CONFIG_FILE}")
    return path


def locate(source: object, revision: str | None, weights: Sequence[str], settings: Sequence[str]) -> Path:
    """Return a local path, from home where it begins with ~, or the folder with downloaded files of a hub repository.

    Of a repository come `settings`, then the first of `weights` that it has. One that holds a language model is refused
    before its weights are taken.
    """
    if not isinstance(source, str | PathLike) or not str(source):
        raise ValueError(f"source {source!r:.60}: give a folder, a file or the name of a hub repository")
    source = expanduser(source)
    if Path(source).exists():
        return Path(source)
    try:
        place = _download(source, revision, settings)
        _refuse_language_model(source, place / CONFIG_FILE)
        for file in weights:
            place = _download(source, revision, [file])
            if (place / file).is_file():
                break
        return place
    except HFValidationError as error:
        raise FileNotFoundError(
            f"{source} is neither a folder nor the name of a hub repository: give one that holds a crosscoder"
        ) from error
    except (LocalEntryNotFoundError, ConnectionError) as error:
        raise FileNotFoundError(
            f"{source} is no file or folder here, and the hub cannot be reached to look for a repository of that "
            "name (no network, or HF_HUB_OFFLINE is set); give the path of a folder instead"
        ) from error
    except HfHubHTTPError as error:
        raise FileNotFoundError(
            f"{source} is no file or folder here, and the hub has no such repository: {error}"
        ) from error


def _download(source: str, revision: str | None, files: Sequence[str]) -> Path:
    owner, _, rest = source.partition("/")
    name, _, subfolder = rest.partition("/")
    patterns = [f"{subfolder}/{file}".lstrip("/") for file in files]
    repository = f"{owner}/{name}" if rest else source
    return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns)) / subfolder


def _refuse_language_model(source: str, config: Path) -> None:
    settings = read_json_object(config) if config.is_file() else {}
    if CONFIG_KEY not in settings and "model_type" in settings:
        raise ValueError(
            f"{source} is a repository of a language model ({settings['model_type']}), not of a crosscoder: give the"
            " crosscoder's"
        )
