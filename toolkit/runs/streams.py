"""Token streams and masks as a run's settings ask for them."""

from datasets import IterableDataset

from toolkit.harvest.masks import TokenMask
from toolkit.harvest.residual import ActivationStream
from toolkit.harvest.tokens import TokenStream
from toolkit.models.pair import ModelPair
from toolkit.runs.settings import RunConfig


def open_tokens(
    config: RunConfig, pair: ModelPair, documents: IterableDataset, *, batch_tokens: int | None = None
) -> TokenStream:
    """Batches of the documents' ids."""
    return TokenStream(
        documents,
        pair.tokenizer,
        row_length=config.row_length,
        batch_tokens=batch_tokens or config.forward_tokens,
        seed=config.seed,
    )


def fitting_tokens(config: RunConfig, budget: int, numbers_a_token: int, *, rows: int = 1) -> int:
    """Tokens of a batch that holds at most `budget` numbers at once, but room for `rows` rows at least."""
    return max(rows * config.row_length, min(config.forward_tokens, budget // numbers_a_token))


def open_mask(config: RunConfig, pair: ModelPair) -> TokenMask:
    """A fresh mask: its counts and medians begin here.

    Raises ValueError for a token to drop that the vocabulary does not hold.
    """
    return TokenMask(
        special_ids=_dropped_ids(config, pair),
        keep_position_0=config.keep_position_0,
        outlier_factor=config.outlier_factor,
    )


def _dropped_ids(config: RunConfig, pair: ModelPair) -> frozenset[int]:
    vocabulary = pair.tokenizer.get_vocab()
    named = [name for name in config.drop_tokens if name != "special"]
    if unknown := [name for name in named if name not in vocabulary]:
        raise ValueError(f"--drop-tokens {unknown}: not in the tokenizer's vocabulary; give tokens as it spells them")
    special = pair.tokenizer.all_special_ids if "special" in config.drop_tokens else []
    return frozenset([*special, *(vocabulary[name] for name in named)])


def open_activations(config: RunConfig, pair: ModelPair, documents: IterableDataset) -> ActivationStream:
    """The documents' activations in both models."""
    return ActivationStream(pair, open_tokens(config, pair, documents), open_mask(config, pair))
