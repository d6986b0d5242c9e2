"""The edits that experiments use: add a direction, move to a point, subtract latents, put other values in place."""

import math
from collections.abc import Sequence
from typing import SupportsFloat, SupportsIndex

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.arguments import Indices, as_index, as_number
from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.models.model.edits import Edit
from toolkit.models.model_set import ModelSet
from toolkit.models.places.ndif.server_side import replacement


def check_match(models: ModelSet, crosscoder: Crosscoder, *, other_models: bool = False) -> None:
    """Raise `ValueError` unless the crosscoder was trained on these models' streams; the message names both."""
    config, given = crosscoder.config, " and ".join(models.origins)
    if config.d_model != models.d_model:
        raise ValueError(
            f"the crosscoder was trained on width {config.d_model}, the models {given} have width"
            f" {models.d_model}: give the pair that it was trained on"
        )
    if len(config.models) != len(models.names):
        raise ValueError(
            f"the crosscoder reads {len(config.models)} models, and these are {len(models.names)}: give one of theirs"
        )
    if deep := [layer for layer in config.layers if layer >= models.n_layers]:
        raise ValueError(
            f"layer {deep[0]} is out of range: the crosscoder was trained at its input, and the models"
            f" {given} have {models.n_layers} layers: give the pair that it was trained on"
        )
    if config.layers != models.layers:
        raise ValueError(
            f"the crosscoder was trained at the input of layers {config.layers}, the pair is read at {models.layers}:"
            " load the pair with the crosscoder's layers"
        )
    if config.sources and not other_models and config.sources != models.origins:
        raise ValueError(
            f"the crosscoder was trained on {' and '.join(config.sources)}, but {given} are given:"
            " give those models, or other_models (--other-models) to use these nevertheless"
        )


def stream_index(crosscoder: Crosscoder, model: str = "distilled", layer: SupportsIndex | None = None) -> int:
    """Return the index on the stream axis of a model's stream at `layer` (default: the crosscoder's only one).

    Raises `ValueError` for a model or layer that the crosscoder was not trained on.
    """
    config = crosscoder.config
    if layer is None and len(config.layers) > 1:
        raise ValueError(f"the crosscoder reads layers {config.layers}: name the one to edit")
    layer = config.layers[0] if layer is None else as_index(layer, "layer")
    if model not in config.models or layer not in config.layers:
        raise ValueError(
            f"the crosscoder has no stream of {model!r} at layer {layer}: it was trained on {', '.join(config.models)}"
            f" at the input of layers {config.layers}"
        )
    return config.models.index(model) * len(config.layers) + config.layers.index(layer)


def mean_norm(crosscoder: Crosscoder, stream: int) -> float:
    """Return the mean norm of a residual stream, as training measured it: √d over the stream's scale.

    Raises `ValueError` for a crosscoder that does not record its scale.
    """
    if not crosscoder.config.scale:
        raise ValueError("the crosscoder does not record the scale of its activations: steer with shift() instead")
    return math.sqrt(crosscoder.config.d_model) / crosscoder.config.scale[stream]


def unit_row(crosscoder: Crosscoder, latents: Sequence[int], stream: int) -> Float[Tensor, " d_model"]:
    """Return the sum of the latents' unit decoder rows for one stream, scaled to unit length."""
    rows = torch.nn.functional.normalize(crosscoder.W_dec[list(latents), stream], dim=1)
    return torch.nn.functional.normalize(rows.sum(dim=0), dim=0)


def steer(
    crosscoder: Crosscoder,
    *,
    latent: Indices,
    strength: SupportsFloat,
    model: str = "distilled",
    layer: SupportsIndex | None = None,
) -> Edit:
    """Add the latent's decoder row: x' = x + strength · mean‖x‖ · v, with v the row (or the sum of several) at unit
    length.

    `strength` is in units of the mean norm of the residual stream; below zero it suppresses.
    Raises `ValueError` for a latent that does not exist and for a strength that is not finite.
    """
    latents = list(dict.fromkeys(check_latents(latent, crosscoder.config.n_latents)))
    strength = as_number(strength, "strength")
    if not math.isfinite(strength):
        raise ValueError(f"strength {strength} is not finite: give a number, ±.1 of the residual norm to begin with")
    stream = stream_index(crosscoder, model, layer)
    vector = strength * mean_norm(crosscoder, stream) * unit_row(crosscoder, latents, stream)
    return shift(crosscoder.config.layers[stream % len(crosscoder.config.layers)], vector)


def shift(layer: SupportsIndex, vectors: Float[Tensor, "_ d_model"] | Float[Tensor, " d_model"]) -> Edit:
    """Return the edit that adds a vector at every position: the same for all rows, or one for each row."""
    return Edit(layer=layer, function=torch.add, operands=(torch.atleast_2d(vectors)[:, None],))


def move_toward(layer: SupportsIndex, point: Float[Tensor, " d_model"], share: SupportsFloat) -> Edit:
    """Return the edit that moves the stream a share of its way to a point: x' = x + share · (point − x).

    A share of 1 puts the point in the place of every position; below zero the stream moves away from it.
    """
    point = point[None, None]
    share = torch.full_like(point, as_number(share, "share"))
    return Edit(layer=layer, function=torch.lerp, operands=(point, share))


def splice(
    layer: SupportsIndex, values: Float[Tensor, "token d_model"], positions: Bool[Tensor, "row position"]
) -> Edit:
    """Return the edit that puts `values`, row after row or one for all, into the stream where `positions` is true."""
    return Edit(layer=layer, function=replacement, operands=(values,), positions=positions)


def subtract(
    layer: SupportsIndex, values: Float[Tensor, "token d_model"], positions: Bool[Tensor, "row position"]
) -> Edit:
    """Return the edit that subtracts `values` from the stream where `positions` is true, row after row.

    With values Σ f_k W_dec,k this ablates latents and preserves the crosscoder's error.
    """
    return Edit(layer=layer, function=torch.sub, operands=(values,), positions=positions)


def latents_part(
    crosscoder: Crosscoder, codes: Float[Tensor, "token latent"], latents: Int[Tensor, " chosen"], stream: int
) -> Float[Tensor, "token d_model"]:
    """Return what the chosen latents add to one stream: Σ f_k W_dec,k."""
    rows = crosscoder.W_dec[latents.to(crosscoder.W_dec.device), stream]
    return codes[:, latents.to(codes.device)] @ rows.to(codes)
