"""Checks that models can be read together: same shape, same tokens, different weights, sites that they have."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import SupportsIndex

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from toolkit.arguments import Indices
from toolkit.library_warnings import ToolkitWarning
from toolkit.models.files.identity import same_weights
from toolkit.models.model.layers import check_layers
from toolkit.models.sources import Source
from toolkit.models.text.tokenizers import NO_TOKEN, Clashes, check_same_tokens, describe_clashes, tokens_by_id

NO_EMBEDDING = "(no embedding)"


def check_same_shape(configs: Mapping[str, PreTrainedConfig]) -> int:
    """Return the depth of all models, given by name; raises `ValueError` where their width or depth differ."""
    (first, ours), *others = configs.items()
    for noun, name in (("width (d_model)", "hidden_size"), ("depth (decoder layers)", "num_hidden_layers")):
        for other, theirs in others:
            if getattr(ours, name) != getattr(theirs, name):
                raise ValueError(
                    f"the models differ in {noun}: {first} has {getattr(ours, name)}, {other} {getattr(theirs, name)}."
                    " Choose models of one architecture and size."
                )
    depth: int = ours.num_hidden_layers
    return depth


def warn_of_same_weights(sources: Sequence[Source]) -> None:
    """Warn where two models have the same weights: from one folder, or of one name and version on the hub."""
    for one, other in combinations(sources, 2):
        if same_weights(one.name, other.name, [one.hub, other.hub]):
            warnings.warn(
                f"{one.role} and {other.role} are the same weights ({one.name!r} and {other.name!r}): every latent will"
                " look shared",
                ToolkitWarning,
                stacklevel=3,
            )


def check_not_the_same(source: Source, others: Sequence[Source], remedy: str, *, remote: bool = False) -> None:
    """Raise `ValueError`, with a remedy, where a model has the weights of another: nothing can differ between them.

    Files on this machine are compared; of models on the hub, or `remote` ones, names and versions.
    """
    for other in others:
        same = source.name == other.name if remote else same_weights(source.name, other.name, [source.hub, other.hub])
        if same:
            raise ValueError(
                f"{source.role} ({source.name}) and {other.role} ({other.name}) are the same weights, so that nothing"
                f" can differ between them: {remedy}"
            )


def find_clashes(configs: Mapping[str, PreTrainedConfig], tokenizers: Mapping[str, PreTrainedTokenizerBase]) -> Clashes:
    """Find the ids that do not mean the same to all models, or lack an embedding in one, and warn of them.

    Raises `ValueError` where ordinary tokens are among them.
    """
    clashes = check_same_tokens(tokenizers) | without_embedding(configs, tokenizers)
    if clashes:
        said = f"{len(clashes)} ids mean different things to the models: {describe_clashes(clashes, list(configs))}"
        warnings.warn(said, ToolkitWarning, stacklevel=3)
    return clashes


def without_embedding(
    configs: Mapping[str, PreTrainedConfig], tokenizers: Mapping[str, PreTrainedTokenizerBase]
) -> Clashes:
    """Find ids of added tokens for which some models have no embedding.

    Raises `ValueError` for a model without embeddings of ordinary tokens.
    """
    sizes = {name: config.vocab_size for name, config in configs.items()}
    tokens = {name: tokens_by_id(tokenizer) for name, tokenizer in tokenizers.items()}
    least = min(sizes.values())
    beyond = sorted({token_id for each in tokens.values() for token_id in each if token_id >= least})
    added = {token_id for tokenizer in tokenizers.values() for token_id in tokenizer.added_tokens_decoder}
    if not added.issuperset(beyond):
        *_, last = tokenizers.values()
        said = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise ValueError(
            f"the models differ in vocabulary: the tokenizer has {len(last)} tokens, but {said} embeddings. Choose"
            " models that all hold every ordinary token."
        )

    def meaning(model: str, token_id: int) -> str:
        return NO_EMBEDDING if token_id >= sizes[model] else tokens[model].get(token_id, NO_TOKEN)

    return {token_id: tuple(meaning(model, token_id) for model in sizes) for token_id in beyond}


def check_sites(layers: Indices, depth: SupportsIndex | None, n_layers: int) -> tuple[int, ...]:
    """Return the sites as ints.

    Raises `ValueError` for a site that the models do not have, a site named twice, and a site beyond `depth`.
    """
    found = check_layers(layers, n_layers)
    if twice := [layer for layer in found if found.count(layer) > 1]:
        raise ValueError(f"layer {twice[0]} is named twice: name each site once")
    if depth is not None and max(found) > max(check_layers(depth, n_layers)):
        raise ValueError(f"depth {depth} leaves out layer {max(found)}, which is to be read: raise it to that")
    return found
