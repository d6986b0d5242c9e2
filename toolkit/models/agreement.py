"""Do two models, and the settings they are opened with, belong together?"""

from collections.abc import Sequence

from transformers import PreTrainedConfig

from toolkit.models.layers import check_layers
from toolkit.models.placement import Placement


def check_nothing_local(
    placement: Placement, base_device: str | None, distilled_device: str | None, sequential: bool
) -> None:
    """Raise `ValueError` for settings of models on this machine, which models elsewhere do not use."""
    named = {
        "dtype": placement.dtype != "auto",
        "max_memory": placement.max_memory,
        "offload_folder": placement.offload_folder,
        "base_device": base_device,
        "distilled_device": distilled_device,
        "sequential": sequential,
    }
    if local := [name for name, value in named.items() if value]:
        raise ValueError(
            f"{', '.join(local)}: about models on this machine, unused by those on NDIF. Leave it out, or remote"
        )


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


def check_sites(layers: Sequence[int], depth: int | None, n_layers: int) -> None:
    """Raise `ValueError` for a site that the models do not have, or that is not read with so few layers."""
    check_layers([*layers, *([] if depth is None else [depth])], n_layers)
    if depth is not None and max(layers) > depth:
        raise ValueError(f"depth {depth} leaves out layer {max(layers)}, which is to be read: raise it to that")
