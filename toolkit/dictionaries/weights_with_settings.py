"""Writes a dictionary's weights beside a `config.json` that says what they are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from toolkit.artifacts import (
    HASHES_KEY,
    digest,
    explaining_a_full_disk,
    read_json_object,
    read_section,
    sha256,
    write_json,
)

CONFIG_FILE = "config.json"


def write_weights(
    folder: Path, file: str, tensors: Mapping[str, Tensor], key: str, settings: Mapping[str, Any]
) -> None:
    """Write tensors into `file`, and their settings under `key` in `config.json`; its other keys are kept.

    The folder is made if need be. Under "sha256" it says what the weights and the settings are, for a load to compare.

    Raises:
        DiskFullError: there is too little room; files that were there are as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, weights = folder / CONFIG_FILE, folder / file
    others = read_json_object(path) if path.exists() else {}
    other_hashes = read_section(path, HASHES_KEY) if path.exists() else {}
    temporary = weights.with_suffix(".tmp")
    try:
        with explaining_a_full_disk(folder, lambda: ": free some space, or write elsewhere"):
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
        hashes = {file: sha256(temporary), key: digest(settings)}
        temporary.replace(weights)
    finally:
        temporary.unlink(missing_ok=True)
    write_json(path, others | {key: settings, HASHES_KEY: other_hashes | hashes})
