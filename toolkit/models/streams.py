"""Names of residual streams."""

from collections.abc import Sequence


def stream_name(model: str, layer: int, layers: Sequence[int]) -> str:
    """Return the name of a stream: its model's name, or where several `layers` are read `base_layer10` and so on."""
    return model if len(layers) == 1 else f"{model}_layer{layer}"


def stream_names(models: Sequence[str], layers: Sequence[int]) -> tuple[str, ...]:
    """Return the names of all streams, ordered by model, then by layer."""
    return tuple(stream_name(model, layer, layers) for model in models for layer in layers)
