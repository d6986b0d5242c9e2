"""Tells the parts of models apart: one hash for each layer's MLP, and one for all else of each layer."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from toolkit.artifacts import digest
from toolkit.dictionaries.transcoders import AdapterConfig
from toolkit.models.files.loading import read_config
from toolkit.models.files.weight_files import read_weights, weight_files
from toolkit.models.sources import Source

TRANSCODER = ".mlp.transcoder_"
"""Part of the names of the tensors that a published checkpoint has beside those of its models."""
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.(.+)$")


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    """Hashes of a model's parts, in bfloat16 whatever type they were saved in; those that were not asked for are ""."""

    mlps: tuple[str, ...]
    """Of each layer's MLP."""
    rest: tuple[str, ...]
    """Of all else of each layer, then of embeddings, last norm and head together."""


def hash_parts(source: Source, *, mlps: bool = True, rest: bool = True) -> ModelParts:
    """Hash the MLPs of a model, or all else, or both; transcoders beside them are no part of it.

    Raises `ValueError` for files that cannot be read.
    """

    def wanted(name: str) -> bool:
        return TRANSCODER not in name and (mlps if ".mlp." in name else rest)

    parts: dict[tuple[bool, int | None], dict[str, str]] = {}
    for name, tensor in _tensors(source, wanted):
        found = _LAYER.search(name)
        layer, inner = (int(found[1]), found[2]) if found else (None, name)
        parts.setdefault((".mlp." in name, layer), {})[inner] = _hash(tensor)

    def hashed(layer: int | None, *, mlp: bool) -> str:
        return digest(parts[mlp, layer]) if (mlp, layer) in parts else ""

    layers = range(source.config().num_hidden_layers)
    return ModelParts(
        mlps=tuple(hashed(layer, mlp=True) for layer in layers),
        rest=tuple(hashed(layer, mlp=False) for layer in (*layers, None)),
    )


def check_parts(config: AdapterConfig, sources: Sequence[Source]) -> None:
    """Raise `ValueError` where the MLPs that an adapter was trained beside are not the base model's, or all else is not
    the distilled model's; the message names the first layer that differs.
    """
    base, distilled = sources
    for source, what, known, found in (
        (base, "MLP", config.base_mlps, hash_parts(base, rest=False).mlps),
        (distilled, "attention or norms", config.distilled_rest, hash_parts(distilled, mlps=False).rest),
    ):
        for layer, (one, other) in enumerate(zip(known, found, strict=True)):
            if one != other:
                place = f"layer {layer}: the {what}" if layer < config.n_layers else "the embeddings, last norm or head"
                raise ValueError(
                    f"{place} of the {source.role} model ({source.name}) are not those in the adapter's checkpoint:"
                    f" give the {source.role} model that it was trained on, or add --other-models to use it anyway"
                )


def _tensors(source: Source, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Tensor]]:
    if source.module is None:
        yield from read_weights(weight_files(source.name, read_config(source.name, source.hub), source.hub), wanted)
        return
    tied = source.module.all_tied_weights_keys  # a tied head is the embedding, and stands in no file
    yield from ((n, tensor) for n, tensor in source.module.state_dict().items() if wanted(n) and n not in tied)


def _hash(tensor: Tensor) -> str:
    content = tensor.detach().cpu().to(torch.bfloat16).contiguous().view(torch.uint8).numpy()
    return f"{tuple(tensor.shape)} {hashlib.sha256(content.data).hexdigest()}"
