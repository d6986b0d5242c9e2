"""Files of an adapter: `adapter.safetensors` and, under "adapter" in `config.json`, its settings."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from toolkit.artifacts import check_hash, read_json_object, read_section, sha256
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.dictionaries.weights_with_settings import CONFIG_FILE, write_weights
from toolkit.tensor_files import check_finite, read_tensors

ADAPTER_FILE = "adapter.safetensors"
CONFIG_KEY = "adapter"


def save_adapter(adapter: Adapter, folder: str | Path) -> None:
    """Write both files into `folder`, made if need be; other keys of an existing `config.json` are kept.

    Tensors are named `layers.3.W_enc` and so on, and keep their type. Raises `DiskFullError` where there is too little
    room; files that were there are then as they were.
    """
    write_weights(Path(folder), ADAPTER_FILE, adapter.state_dict(), CONFIG_KEY, asdict(adapter.config))


def load_adapter(folder: str | Path) -> Adapter:
    """Load what `save_adapter` wrote, on the CPU and in float32.

    Raises `FileNotFoundError` where a file is missing, and `ValueError` for files of something else, or that are not as
    they were written.
    """
    place = Path(folder)
    path, weights = place / CONFIG_FILE, place / ADAPTER_FILE
    for each in (path, weights):
        if not each.is_file():
            raise FileNotFoundError(f"{each} does not exist; an adapter is {ADAPTER_FILE} beside {CONFIG_FILE}")
    adapter = Adapter(_config(path))
    tensors = read_tensors(weights, "the tensors of an adapter")
    _check_tensors(weights, tensors, {name: tuple(each.shape) for name, each in adapter.state_dict().items()})
    check_hash(weights, ADAPTER_FILE, sha256(weights), read_json_object(path))
    adapter.load_state_dict(tensors)
    return adapter


def _config(path: Path) -> AdapterConfig:
    values = read_section(path, CONFIG_KEY)
    if not values:
        raise ValueError(f'{path} has no "{CONFIG_KEY}" section; it is not the config.json of an adapter')
    known = {field.name for field in fields(AdapterConfig)}
    if unknown := sorted(values.keys() - known):
        raise ValueError(f"{path} has unknown fields {unknown}; known are {sorted(known)}")
    listed: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    try:
        return AdapterConfig(**listed)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe an adapter: {error}") from error


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != expected:
        wrong = next(name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name))
        raise ValueError(
            f"{path} does not hold this adapter: {wrong} is {found.get(wrong, 'missing')}, and should be"
            f" {expected.get(wrong, 'absent')}"
        )
    check_finite(path, tensors)
