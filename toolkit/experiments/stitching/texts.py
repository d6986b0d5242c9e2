"""The documents that maps are fitted on, and other ones on which costs are measured."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from datasets import IterableDataset

from toolkit.experiments.control import is_embedded
from toolkit.experiments.run import Run
from toolkit.experiments.stitching import StitchingConfig
from toolkit.fields import changed, leaves
from toolkit.harvest.documents import Corpus
from toolkit.harvest.tokens import TokenBatch, TokenMask, TokenStream
from toolkit.latents.categories import Category
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.models.text.inputs import check_context
from toolkit.models.text.token_texts import vocabulary_texts
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS, PAPER_DEFAULTS, RunConfig
from toolkit.stitching.excess import Predictions
from toolkit.stitching.opening import StitchableModels
from toolkit.training import streams

MEASURED_TOKENS = 2048
"""Tokens of a batch on which costs are measured: rows of like length need little padding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StitchingText:
    """Text that is open, and how it is read."""

    run: RunConfig
    corpus: Corpus
    models: StitchableModels

    @classmethod
    def open(cls, settings: StitchingConfig, opened: Run | None, models: StitchableModels) -> "StitchingText":
        """The text of a run; or that which such models are trained on, unless another is asked for."""
        if opened is not None:
            return cls(run=opened.reading, corpus=opened.corpus, models=models)
        defaults = EMBEDDED_DEFAULTS if is_embedded(models) else PAPER_DEFAULTS
        asked = dict(leaves(settings.text)) if settings.text.data is not None else {}
        run = changed(defaults, seed=settings.seed, row_length=min(defaults.text.row_length, models.context), **asked)
        corpus = streams.open_text(run.text, run.seed)
        return cls(run=run, corpus=corpus if settings.text.data is None else corpus.read_whole(), models=models)

    @property
    def parts(self) -> tuple[IterableDataset, IterableDataset]:
        """Documents to fit maps on, and to measure on: those of training and those held out.

        Of a text that the models were not trained on, the documents with even and with odd numbers.
        """
        if self.corpus.whole is not None and self.corpus.held_out is self.corpus.whole:
            return _every_second(self.corpus.whole, 0), _every_second(self.corpus.whole, 1)
        return self.corpus.train, self.corpus.held_out

    def fitting(self, tokens: int, part: int, parts: int) -> Iterator[TokenBatch]:
        """Whole batches of one of `parts` parts of the documents to fit on, until there are so many tokens.

        The ids are those of the last model, and no other part has the same documents.
        """
        stream = self._stream(self.parts[0], self.models, self.run.text.forward_tokens, part, parts)
        for batch in stream:
            yield batch
            tokens -= int(batch.attention_mask.sum())
            if tokens <= 0:
                return

    def measured(self, documents: int, rest: str, hesitation: Category | None) -> tuple[list[Predictions], TokenMask]:
        """The first documents to measure on, in the ids of a receiver, and the mask that chose their predictions."""
        models = _read_as(self.models, rest)
        budget = min(MEASURED_TOKENS, LARGEST_LOGITS // models.models[rest].vocab_size)
        batches = self._stream(self.parts[1].take(documents), models, max(budget, self.run.text.row_length), 0, 1)
        mask, pieces = streams.open_mask(self.run.mask, models), vocabulary_texts(models.tokenizer)
        words = hesitation.token_ids if hesitation else ()
        return [Predictions.of(batch, mask, pieces, words) for batch in batches], mask

    def _stream(
        self, documents: IterableDataset, models: StitchableModels, batch_tokens: int, shard: int, shards: int
    ) -> TokenStream:
        length = self.run.text.row_length
        check_context(length, models.context, f"--row-length {length}", "lower it to that")
        return TokenStream(
            models.comparable(documents, length),
            models.tokenizer,
            row_length=length,
            batch_tokens=batch_tokens,
            seed=self.run.seed,
            shard=shard,
            shards=shards,
        )


def _every_second(documents: IterableDataset, first: int) -> IterableDataset:
    return documents.filter(lambda _, index: index % 2 == first, with_indices=True)


def _read_as(models: StitchableModels, rest: str) -> StitchableModels:
    """The same models, the receiver last: it is the last one's tokenizer that cuts text."""
    others = {name: model for name, model in models.models.items() if name != rest}
    return replace(models, models={**others, rest: models.models[rest]})
