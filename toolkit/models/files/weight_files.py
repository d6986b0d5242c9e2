"""A model's weights files: found, checked against its config by names and shapes, and read tensor by tensor."""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_MAPPING, PreTrainedConfig

from toolkit.artifacts import read_json_object
from toolkit.models.files.model_files import Hub, explaining, find_file, quietly

_WHOLE = ("model.safetensors", "pytorch_model.bin")
"""Files of weights, in the order in which transformers looks for them; each may be an index of shards instead."""


def check_fit(source: str, config: PreTrainedConfig, hub: Hub, *, head: bool) -> None:
    """Raise `ValueError` unless the files of the model at `source` hold the tensors that a model of `config` has.

    Quantised weights and models with code of their own are not checked.
    """
    kinds = MODEL_FOR_CAUSAL_LM_MAPPING if head else MODEL_MAPPING
    own_code = hub.trust_remote_code and getattr(config, "auto_map", None)
    if own_code or getattr(config, "quantization_config", None) is not None or type(config) not in kinds:
        return
    with explaining(source, "weights"), quietly():
        _, info = kinds[type(config)].from_pretrained(
            None,
            config=copy.deepcopy(config),
            state_dict=_shapes(source, config, hub),
            device_map="meta",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    if info["mismatched_keys"]:
        name, found, wanted = min(info["mismatched_keys"])
        raise ValueError(
            f"the weights in {source!r} are not those of its config.json: {name} is {list(found)}, and by config.json"
            f" {list(wanted)}. Copy both from one model"
        )
    if info["missing_keys"]:
        lost = min(info["missing_keys"])
        raise ValueError(
            f"the weights in {source!r} lack {len(info['missing_keys'])} tensors, such as {lost}: its config.json"
            " describes another model, or its files are incomplete. Copy it again"
        )


def weight_files(source: str, config: PreTrainedConfig, hub: Hub) -> list[Path]:
    """Return the weights files of the model at `source`; raises `ValueError` for none, or one outside its folder."""
    named = getattr(config, "transformers_weights", None)
    for name in [named.removesuffix(".index.json")] if isinstance(named, str) else _WHOLE:
        if (file := find_file(source, name, hub)) is not None:
            return [file]
        if (index := find_file(source, f"{name}.index.json", hub)) is not None:
            return [_shard(source, index, shard, hub) for shard in _shard_names(index)]
    raise ValueError(f"no file of weights, such as {_WHOLE[0]}: copy or download it again")


def read_weights(files: Iterable[Path], wanted: Callable[[str], bool]) -> Iterator[tuple[str, Tensor]]:
    """Yield the wanted tensors of weights files, by name, as they were saved; one of them is in memory at a time."""
    for file in files:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as opened:
                for name in filter(wanted, opened.keys()):
                    yield name, opened.get_tensor(name)
        else:
            for name, tensor in torch.load(file, map_location="cpu", weights_only=True, mmap=True).items():
                if wanted(name):
                    yield name, tensor


def _shard_names(index: Path) -> list[str]:
    names = read_json_object(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"{index} has no weight_map from tensors to files: copy or download it again")
    return sorted(set(names.values()))


def _shard(source: str, index: Path, name: str, hub: Hub) -> Path:
    """Return the file that an index names, in the index's folder; files of the hub's cache are links to its blobs."""
    folder = index.parent.resolve()
    blobs = folder.parents[1] / "blobs" if folder.parent.name == "snapshots" else folder
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"{index} names {name!r}, which lies outside its folder: it is not read")
    found = find_file(source, name, hub)
    if found is None:
        raise ValueError(f"{name}, which {index.name} names, is missing: copy or download it again")
    if not any(found.resolve().is_relative_to(place) for place in (folder, blobs)):
        raise ValueError(f"{found} leads to {found.resolve()}, outside its folder: put the file itself there")
    return found


def _shapes(source: str, config: PreTrainedConfig, hub: Hub) -> dict[str, Tensor]:
    """Return tensors on the meta device, by name, with the shapes of those in the files."""
    shapes: dict[str, Tensor] = {}
    for file in weight_files(source, config, hub):
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118
                    shapes[name] = torch.empty(opened.get_slice(name).get_shape(), device="meta")
        else:
            with warnings.catch_warnings(action="ignore"):  # of pickles of another version
                shapes |= torch.load(file, map_location="meta", weights_only=True)
    return shapes
