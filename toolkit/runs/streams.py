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


def open_mask(config: RunConfig, pair: ModelPair) -> TokenMask:
    """A fresh mask: its counts and medians begin here."""
    special = frozenset(pair.tokenizer.all_special_ids) if config.drop_special_tokens else frozenset()
    return TokenMask(
        special_ids=special, keep_position_0=config.keep_position_0, outlier_factor=config.outlier_factor
    )


def open_activations(config: RunConfig, pair: ModelPair, documents: IterableDataset) -> ActivationStream:
    """The documents' activations in both models."""
    return ActivationStream(pair, open_tokens(config, pair, documents), open_mask(config, pair))
