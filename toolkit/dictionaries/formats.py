"""Checkpoints of other crosscoder libraries: found, read without running code, folded to take raw activations."""

import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from toolkit.dictionaries import storage
from toolkit.dictionaries.configs import CrosscoderConfig, model_names
from toolkit.dictionaries.dictionary_learning import KEYS, read_dictionary_learning
from toolkit.dictionaries.peer_layouts import (
    CROSSCODE_KEYS,
    REPLICATION_KEYS,
    Layout,
    read_crosscode,
    read_replication,
)
from toolkit.dictionaries.weights import fold_weights
from toolkit.library_warnings import ToolkitWarning
from toolkit.tensor_files import read_tensors

WEIGHTS_FILES = ("model.safetensors", "model_final.pt", "ae.pt", "cc_weights.pt", "model.pt")
SETTINGS_FILES = ("config.json", "cfg.json", "model_cfg.yaml")
READERS: Mapping[frozenset[str], Callable[[Path, Mapping[str, Tensor]], Layout]] = {
    KEYS: read_dictionary_learning,
    REPLICATION_KEYS: read_replication,
    CROSSCODE_KEYS: read_crosscode,
}


def find_checkpoint(place: Path) -> Path | None:
    """Return the weights of another library at a path, or None where the path is to be read as this toolkit's own."""
    if place.is_file():
        return None if place.name == storage.WEIGHTS_FILE else place
    if (place / storage.WEIGHTS_FILE).exists():
        return None
    return next((place / name for name in WEIGHTS_FILES if (place / name).is_file()), None)


def load(
    path: Path, scale: Sequence[float] | None, layers: Sequence[int] | None
) -> tuple[CrosscoderConfig, dict[str, Tensor]]:
    """Read settings and tensors from another library's weights; arguments and errors as in `from_pretrained`.

    The settings' `assumptions` say how format, activations, codes, threshold, models and layers were read.
    """
    tensors = {name.replace("_orig_mod.", ""): tensor for name, tensor in _read_file(path).items()}
    layout = _reader(path, tensors)(path, tensors)
    n_models, _, d_model = layout.shape
    factors, scale_note = _choose_scale(path, layout, scale)
    names, model_note = _name_models(n_models)
    numbers, layer_note = _choose_layers(path, layout, layers)
    config = CrosscoderConfig(
        d_model=d_model,
        models=names,
        layers=numbers,
        n_latents=len(layout.code_norms),
        sparsity=layout.sparsity,
        k=layout.k,
        scale=tuple(factors.tolist()),
        assumptions=(*layout.assumptions, *scale_note, model_note, layer_note),
    )
    folded = fold_weights(layout.weights, layout.code_norms, factors, layout.mean)
    return config, folded if layout.threshold is None else folded | {"threshold": layout.threshold}


def _read_file(path: Path) -> dict[str, Tensor]:
    """Read names and tensors; a pickle is never allowed to run code."""
    if path.suffix == ".safetensors":
        return read_tensors(path, expected="the tensors of a crosscoder")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is corrupt, cut short, or was not written by torch.save: expected a crosscoder's state_dict"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is a pickle that holds more than tensors, which could run code when read, or is corrupt: "
            "save its state_dict alone, best as safetensors"
        ) from error
    except RuntimeError as error:
        raise ValueError(f"{path} is corrupt, or was not written by torch.save: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise ValueError(f"{path} holds no plain state_dict: expected names and tensors alone, save those")
    return content


def _reader(path: Path, tensors: Mapping[str, Tensor]) -> Callable[[Path, Mapping[str, Tensor]], Layout]:
    for keys, reader in READERS.items():
        if keys <= tensors.keys():
            return reader
    known = "; ".join(", ".join(sorted(keys)) for keys in READERS)
    found = sorted(tensors)
    raise ValueError(
        f"{path} holds no crosscoder of a known format: expected tensors such as {known}; found {len(found)} tensors, "
        f"among them {found[:8]}"
    )


def _choose_scale(path: Path, layout: Layout, given: Sequence[float] | None) -> tuple[Tensor, tuple[str, ...]]:
    n_streams = layout.shape[0] * layout.shape[1]
    if layout.scale is not None:
        if given is not None:
            raise ValueError(f"{path} states its own scale {layout.scale.tolist()}: leave out scale={tuple(given)}")
        return layout.scale, ()
    if given is None:
        note = "activations: taken as already scaled by √d / mean‖x‖ per model; the factors are not stored, give scale="
        warnings.warn(f"{path}: {note}, or raw activations will give wrong codes", ToolkitWarning, stacklevel=4)
        return torch.ones(n_streams), (note,)
    if len(given) != n_streams or not all(0 < factor < float("inf") for factor in given):
        raise ValueError(f"scale={tuple(given)}: give {n_streams} positive factors, one for each stream of {path}")
    return torch.tensor(given, dtype=torch.float32), (
        f"activations: times the given factors {tuple(given)}, folded in",
    )


def _name_models(n_models: int) -> tuple[tuple[str, ...], str]:
    known = "base first, then distilled (assumed)" if n_models == 2 else f"{n_models}, unnamed"
    return model_names(n_models), f"models: {known}"


def _choose_layers(path: Path, layout: Layout, given: Sequence[int] | None) -> tuple[tuple[int, ...], str]:
    n_layers = layout.shape[1]
    if given is not None:
        if len(given) != n_layers:
            raise ValueError(f"layers={tuple(given)}: {path} reads {n_layers} a model, give as many")
        return tuple(given), f"layers: inputs of {tuple(given)}, given"
    if layout.layers:
        return layout.layers, f"layers: inputs of {layout.layers}, as its settings or folder name"
    return tuple(range(-n_layers, 0)), "layers: not stored, give layers="
