"""Opens one model: whole or its first layers, for good or by turns, on this machine or on NDIF."""

from functools import partial

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from toolkit.models.files.loading import behind_nnsight, load_config, load_model
from toolkit.models.files.model_files import MAIN, Hub
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.ndif.connection import Connection
from toolkit.models.places.ndif.remote import load_remote_model
from toolkit.models.places.one_at_a_time import Seat, SeatedModel
from toolkit.models.places.split import SplitModel
from toolkit.models.where import Where


def open_model(
    source: str | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    where: Where,
    *,
    hub: Hub = MAIN,
    depth: int | None = None,
    seat: Seat | None = None,
) -> TracedModel:
    """Open the model at `source`, a local folder or a hub name; or one in memory, as it is.

    With `depth` only what lies before that site is loaded; with a `seat` the weights are in memory only while the model
    has it; where layers are split it needs `split.leading`; on NDIF no weights are loaded, and `depth` means nothing.
    Raises `ValueError` as `load_model` does.
    """
    if isinstance(source, PreTrainedModel):
        return TracedModel(behind_nnsight(source, tokenizer))
    if where.remote:
        if hub.revision is not None:
            raise ValueError(f"revision {hub.revision!r}: NDIF serves the newest. Leave it out, or remote")
        return open_remote(source, tokenizer, where)
    n_layers = None if depth is None else load_config(source, hub).num_hidden_layers
    load = partial(load_model, source, tokenizer, where, hub=hub, depth=depth)
    if where.tensor_parallel:
        return SplitModel(load, n_layers=n_layers)
    return TracedModel(load(), n_layers=n_layers) if seat is None else SeatedModel(load, seat, n_layers=n_layers)


def open_remote(source: str, tokenizer: PreTrainedTokenizerBase, where: Where) -> TracedModel:
    """Open the model at `source` on NDIF: a hub repository, or a folder that the server reads too.

    A first job of one token shows that the server takes the key and has the model.
    Raises `ValueError` where it does not, and as `Connection` does.
    """
    connection = Connection(source, where)
    connection.hosted()  # says which hosts cannot be reached, before the model is looked for
    model = TracedModel(load_remote_model(source, tokenizer), connection=connection)
    one = torch.ones(1, 1, dtype=torch.long)
    model.residual(one, one, [0])
    return model
