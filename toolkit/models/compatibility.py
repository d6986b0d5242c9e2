"""Do two models belong together?"""

import warnings
from collections.abc import Sequence
from typing import SupportsIndex

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from toolkit.arguments import Indices
from toolkit.library_warnings import ToolkitWarning
from toolkit.models.files.identity import same_weights
from toolkit.models.files.model_files import Hub
from toolkit.models.model.layers import check_layers
from toolkit.models.text.tokenizers import NO_TOKEN, Clashes, check_same_tokens, describe_clashes, tokens_by_id

NO_EMBEDDING = "(no embedding)"


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


def warn_of_same_weights(base: str, distilled: str, hubs: Sequence[Hub]) -> None:
    """Warn where both models, by folder or by name and version on the hub, are one."""
    if same_weights(base, distilled, hubs):
        warnings.warn(
            f"base and distilled are the same weights ({base!r} and {distilled!r}): every latent will look shared",
            ToolkitWarning,
            stacklevel=3,
        )


def find_clashes(configs: Sequence[PreTrainedConfig], tokenizers: Sequence[PreTrainedTokenizerBase]) -> Clashes:
    """Find the ids that the two models do not share, in meaning or for want of an embedding, and warn of them.

    Raises `ValueError` where ordinary tokens are among them.
    """
    clashes = check_same_tokens(*tokenizers) | without_embedding(configs, tokenizers)
    if clashes:
        said = f"{len(clashes)} ids mean different things to the two models: {describe_clashes(clashes)}"
        warnings.warn(said, ToolkitWarning, stacklevel=3)
    return clashes


def without_embedding(configs: Sequence[PreTrainedConfig], tokenizers: Sequence[PreTrainedTokenizerBase]) -> Clashes:
    """Find the added ids that one model, or both, has no embedding for, as tokens that were added to one model alone.

    Raises `ValueError` for a model without embeddings of ordinary tokens.
    """
    sizes = [config.vocab_size for config in configs]
    names = [tokens_by_id(tokenizer) for tokenizer in tokenizers]
    beyond = sorted(token_id for token_id in names[0].keys() | names[1].keys() if token_id >= min(sizes))
    added = {token_id for tokenizer in tokenizers for token_id in tokenizer.added_tokens_decoder}
    if not added.issuperset(beyond):
        raise ValueError(
            f"the models differ in vocabulary: the tokenizer has {len(tokenizers[1])} tokens, but base has "
            f"{sizes[0]} embeddings and distilled {sizes[1]}. Choose models that both hold every ordinary token."
        )

    def meaning(model: int, token_id: int) -> str:
        return NO_EMBEDDING if token_id >= sizes[model] else names[model].get(token_id, NO_TOKEN)

    return {token_id: (meaning(0, token_id), meaning(1, token_id)) for token_id in beyond}


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
