"""One pass over text that collects examples of each latent, counts firings, and saves both as it goes."""

import time
from collections.abc import Iterator

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.harvest.tokens import TokenMask, TokenStream
from toolkit.latents.coded_batches import coded_batches
from toolkit.latents.example_store import ExampleStore
from toolkit.latents.examples import TopExamples
from toolkit.latents.firing import FiringCounts
from toolkit.models.model_set import ModelSet

SAVE_SECONDS = 30.0


class ExamplePass:
    """Examples and firing counts of the text read so far.

    The pass resumes from what the store holds: it starts with the batch after the last save, and its result is that of
    a pass without an interruption. A process that is killed loses at most half a minute of work.
    """

    def __init__(
        self,
        models: ModelSet,
        crosscoder: Crosscoder,
        tokens: TokenStream,
        mask: TokenMask,
        *,
        examples: TopExamples,
        firing: FiringCounts,
        store: ExampleStore,
    ) -> None:
        self._models, self._crosscoder, self._tokens, self._mask, self._store = models, crosscoder, tokens, mask, store
        self.examples, self.firing = examples, firing
        self._restore()
        self._place = tokens.state_dict()

    def read(self, wanted: int) -> Iterator[int]:
        """Read until `wanted` tokens were read or the text ends; yield after each batch how many were read."""
        saved = time.perf_counter()
        batches = coded_batches(self._models, self._crosscoder, self._tokens, self._mask)
        while self.firing.tokens < wanted and (coded := next(batches, None)) is not None:
            batch, self._place = coded.batch, coded.batch.next_place
            self.examples.add(batch.input_ids, batch.attention_mask, coded.selected, coded.codes)
            self.firing.add(batch.input_ids, coded.selected, coded.codes)
            if time.perf_counter() - saved > SAVE_SECONDS:
                self._save()
                saved = time.perf_counter()
            yield self.firing.tokens
        self._save()

    def _save(self) -> None:
        progress = {"stream": self._place, "mask": self._mask.state_dict()}
        self._store.save(self.examples, progress, self.firing.state_dict())

    def _restore(self) -> None:
        saved = self._store.load(self.examples)
        if saved is None:
            return
        progress, counts = saved
        self._tokens.load_state_dict(progress["stream"])
        self._mask.load_state_dict(progress["mask"])
        self.firing.load_state_dict(counts)
