"""The documents that maps are fitted on, and other ones on which costs are measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from datasets import IterableDataset

from toolkit.experiments.control import is_embedded
from toolkit.experiments.run import Run
from toolkit.experiments.stitching import StitchingConfig
from toolkit.fields import changed, leaves
from toolkit.harvest.documents import Corpus
from toolkit.harvest.tokens import TokenBatch, TokenMask, TokenStream
from toolkit.latents.categories import expand, hesitation
from toolkit.latents.choices import HESITATION
from toolkit.leaving_out import measurable
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.models.text.inputs import check_context
from toolkit.models.text.token_texts import vocabulary_texts
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS, PAPER_DEFAULTS, RunConfig
from toolkit.stitching.excess import Predictions
from toolkit.stitching.opening import StitchableModels
from toolkit.training import streams

MEASURED_BATCH, TRAINING_BATCH = 2048, 1024
"""Tokens of a batch on which costs are measured, and of one step of training: such rows need little padding."""


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

    def mask(self, rest: str) -> TokenMask:
        """A fresh mask of the tokens that count, in the ids of a receiver."""
        return streams.open_mask(self.run.mask, _read_as(self.models, rest))

    def fitting(self, tokens: int, part: int, parts: int, rest: str, *, small: bool = False) -> Iterator[TokenBatch]:
        """Whole documents of one of `parts` parts of those to fit on, in batches, until there are so many tokens.

        The ids are those of a receiver, and no other part has the same documents. Batches are small for training.
        """
        batch_tokens = max(TRAINING_BATCH, self.run.text.row_length) if small else self.run.text.forward_tokens
        stream = self._stream(self.parts[0], _read_as(self.models, rest), batch_tokens, part, parts)
        for batch in stream:
            left = tokens - batch.attention_mask.sum(dim=1).cumsum(dim=0)
            rows = int((left > 0).sum()) + 1
            yield TokenBatch(batch.input_ids[:rows], batch.attention_mask[:rows], batch.counts)
            tokens = int(left[-1])
            if tokens <= 0:
                return

    def measured(
        self, documents: int, rest: str, lexicon: Mapping[str, tuple[str, ...]]
    ) -> tuple[list[Predictions], TokenMask]:
        """The first documents to measure on, in the ids of a receiver, and the mask that chose their predictions.

        Words of hesitation are those of the lexicon that are single tokens of the receiver; there may be none.
        """
        models = _read_as(self.models, rest)
        budget = min(MEASURED_BATCH, LARGEST_LOGITS // models.models[rest].vocab_size)
        batches = self._stream(self.parts[1].take(documents), models, max(budget, self.run.text.row_length), 0, 1)
        mask, pieces = self.mask(rest), vocabulary_texts(models.tokenizer)
        words, _ = measurable([HESITATION], lambda _: hesitation(models.tokenizer, expand(models.tokenizer, lexicon)))
        ids = words[HESITATION].token_ids if words else ()
        return [Predictions.of(batch, mask, pieces, ids) for batch in batches], mask

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
