"""Opens one model in the place where it is to run; no other code chooses the kind of place."""

from functools import partial

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from toolkit.models.files.loading import behind_nnsight, load_config, load_model
from toolkit.models.files.model_files import MAIN, Hub
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.here import Here
from toolkit.models.places.ndif.ndif import Ndif
from toolkit.models.places.one_at_a_time import OneAtATime, Room
from toolkit.models.places.split import Split
from toolkit.models.where import Where


def open_model(
    source: str | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    where: Where,
    *,
    hub: Hub = MAIN,
    depth: int | None = None,
    room: Room | None = None,
) -> TracedModel:
    """Open the model at `source`, a local folder or a hub name; or one in memory, as it is.

    With `depth` only what lies before that site is loaded. Models that share a `room` are in memory one at a time.
    Layers are split inside `split.leading`. On NDIF no weights are loaded, `depth` means nothing, and a first job of
    one token shows that the server takes the key and has the model.
    Raises `ValueError` as `load_model` and `Ndif` do.
    """
    if isinstance(source, PreTrainedModel):
        return TracedModel(Here(behind_nnsight(source, tokenizer)))
    if where.remote:
        if hub.revision is not None:
            raise ValueError(f"revision {hub.revision!r}: NDIF serves the newest. Leave it out, or remote")
        model, one = TracedModel(Ndif(source, tokenizer, where)), torch.ones(1, 1, dtype=torch.long)
        model.residual(one, one, [0])
        return model
    n_layers = None if depth is None else load_config(source, hub).num_hidden_layers
    load = partial(load_model, source, tokenizer, where, hub=hub, depth=depth)
    if where.tensor_parallel:
        return TracedModel(Split(load), n_layers=n_layers)
    return TracedModel(Here(load()) if room is None else OneAtATime(load, room), n_layers=n_layers)
