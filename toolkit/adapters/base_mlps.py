"""Loads the MLPs of the base model alone: its attention, embeddings and head are never read."""

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from toolkit.models.files.loading import read_config
from toolkit.models.files.weight_files import read_weights, weight_files
from toolkit.models.model.layers import layers_path
from toolkit.models.sources import Source
from toolkit.tensor_files import check_finite

_KEY = re.compile(r"(?:^|\.)layers\.(\d+)\.mlp\.((?:gate|up|down)_proj\.(?:weight|bias))$")


def base_mlps(source: Source, distilled: PreTrainedModel) -> list[nn.Module]:
    """Return the MLP of each layer of the model at `source`, where the same layer of `distilled` is, in its type.

    Raises `ValueError` where the files lack one, or hold tensors of other shapes.
    """
    layers: Any = distilled.get_submodule(layers_path(distilled))
    if source.module is not None:
        theirs: Any = source.module.get_submodule(layers_path(source.module))
        tensors = {(number, name): tensor for number, each in enumerate(theirs) for name, tensor in _named(each.mlp)}
    else:
        tensors = dict(mlp_tensors(source))
        named = {f"layer {number} {name}": tensor for (number, name), tensor in tensors.items()}
        check_finite(f"the model in {source.name!r}", named)
    return [_made(source, number, layer, tensors) for number, layer in enumerate(layers)]


def mlp_tensors(source: Source) -> Iterator[tuple[tuple[int, str], Tensor]]:
    """Yield the tensors of MLPs in a model's files, as saved, by layer and name such as `gate_proj.weight`."""
    files = weight_files(source.name, read_config(source.name, source.hub), source.hub)
    for key, tensor in read_weights(files, lambda key: _KEY.search(key) is not None):
        found = _KEY.search(key)
        assert found is not None, "only such keys are wanted"
        yield (int(found[1]), found[2]), tensor


def _named(mlp: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return ((name, each.detach()) for name, each in mlp.named_parameters())


def _made(source: Source, number: int, layer: Any, tensors: dict[tuple[int, str], Tensor]) -> nn.Module:
    """The MLP of one layer: a module like the distilled model's, with the base model's tensors."""
    mlp: nn.Module = deepcopy(layer.mlp).to("meta")
    like = next(layer.mlp.parameters())
    own = {name: tensor.to(like) for (at, name), tensor in tensors.items() if at == number}
    wanted = {name: tuple(each.shape) for name, each in mlp.named_parameters()}
    found = {name: tuple(each.shape) for name, each in own.items()}
    if found != wanted:
        raise ValueError(
            f"layer {number} of {source.role} ({source.name}) has no MLP like the distilled model's: {_words(found)},"
            f" instead of {_words(wanted)}: give the model that the distilled one was trained from"
        )
    mlp.load_state_dict(own, assign=True)
    return mlp


def _words(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items())) or "none"


def check_gated(role: str, layers: Sequence[nn.Module]) -> None:
    """Raise `ValueError` for a model whose MLPs are not down_proj(act(gate_proj(x)) · up_proj(x))."""
    for number, layer in enumerate(layers):
        names = {name for name, _ in getattr(layer, "mlp", nn.Module()).named_children()}
        if not {"gate_proj", "up_proj", "down_proj"} <= names:
            raise ValueError(
                f"layer {number} of {role} has no gated MLP (gate_proj, up_proj, down_proj): adapters are for models of"
                " the kinds of Qwen2, Qwen3 and Llama"
            )
