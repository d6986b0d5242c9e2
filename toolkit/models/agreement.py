"""Do two models, and the settings they are opened with, belong together?"""

from typing import Any, SupportsIndex

from transformers import PreTrainedConfig

from toolkit.arguments import Indices
from toolkit.models.layers import check_layers
from toolkit.models.placement import Placement


def check_places(
    placement: Placement,
    base_device: str | int | None,
    distilled_device: str | int | None,
    sequential: bool,
    *,
    remote: bool,
) -> None:
    """Raise `ValueError` for settings that models elsewhere, or split over processes, do not use."""
    of_whole_models = {
        "max_memory": placement.max_memory,
        "offload_folder": placement.offload_folder,
        "base_device": base_device,
        "distilled_device": distilled_device,
        "sequential": sequential,
    }
    if remote:
        local = {"dtype": placement.dtype != "auto", "tensor_parallel": placement.tensor_parallel} | of_whole_models
        _check_unused(local, "models on this machine", "those on NDIF", "remote")
    elif placement.tensor_parallel:
        named = {"device_map": placement.device_map != "auto"} | of_whole_models
        _check_unused(named, "whole models", "those whose layers are split", "tensor_parallel")


def _check_unused(settings: dict[str, Any], about: str, others: str, instead: str) -> None:
    if named := [name for name, value in settings.items() if value is not None and value is not False]:
        raise ValueError(f"{', '.join(named)}: about {about}, unused by {others}. Leave it out, or {instead}")


def check_same_shape(base: PreTrainedConfig, distilled: PreTrainedConfig) -> int:
    """Return the depth that both models have; raises `ValueError` where width or depth differ."""
    for noun, name in (("width (d_model)", "hidden_size"), ("depth (decoder layers)", "num_hidden_layers")):
        ours, theirs = getattr(base, name), getattr(distilled, name)
        if ours != theirs:
            raise ValueError(
                f"the models differ in {noun}: base has {ours}, distilled {theirs}. "
                "Choose two models of one architecture and size."
            )
    depth: int = base.num_hidden_layers
    return depth


def check_embeddings(base: PreTrainedConfig, distilled: PreTrainedConfig, *, n_tokens: int) -> None:
    """Raise `ValueError` for a tokenizer with more tokens than a model has embeddings."""
    if n_tokens > min(base.vocab_size, distilled.vocab_size):
        raise ValueError(
            f"the models differ in vocabulary: the tokenizer has {n_tokens} tokens, but base has "
            f"{base.vocab_size} embeddings and distilled {distilled.vocab_size}. "
            "Choose models that both hold every token."
        )


def check_sites(layers: Indices, depth: SupportsIndex | None, n_layers: int) -> tuple[int, ...]:
    """Return the sites as ints.

    Raises `ValueError` for a site that the models do not have, one named twice, and one not read with so few layers.
    """
    found = check_layers(layers, n_layers)
    if twice := [layer for layer in found if found.count(layer) > 1]:
        raise ValueError(f"layer {twice[0]} is named twice: name each site once")
    if depth is not None and max(found) > max(check_layers(depth, n_layers)):
        raise ValueError(f"depth {depth} leaves out layer {max(found)}, which is to be read: raise it to that")
    return found
