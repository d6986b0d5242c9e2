"""One pass over text that collects examples of each latent, counts firings, and saves both as it goes."""

import time
from collections.abc import Iterator

from toolkit.harvest.tokens import TokenMask, TokenStream
from toolkit.latents.coded_batches import Coder
from toolkit.latents.example_store import ExampleStore
from toolkit.latents.examples import TopExamples
from toolkit.latents.firing import FiringCounts
from toolkit.latents.regions import RegionCounts

SAVE_SECONDS = 30.0
REGIONS_IN_STORE = "regions/"


class ExamplePass:
    """Examples and firing counts of the text read so far, and where in its documents latents fire, if that is asked.

    The pass resumes from what the store holds: it starts with the batch after the last save, and its result is that of
    a pass without an interruption. A process that is killed loses at most half a minute of work.
    """

    def __init__(
        self,
        coder: Coder,
        tokens: TokenStream,
        mask: TokenMask,
        *,
        examples: TopExamples,
        firing: FiringCounts,
        store: ExampleStore,
        regions: RegionCounts | None = None,
    ) -> None:
        self._coder, self._tokens, self._mask, self._store = coder, tokens, mask, store
        self.examples, self.firing, self.regions = examples, firing, regions
        self._restore()
        self._place = tokens.state_dict()

    def read(self, wanted: int) -> Iterator[int]:
        """Read until `wanted` tokens were read or the text ends; yield after each batch how many were read."""
        saved = time.perf_counter()
        batches = self._coder(self._tokens, self._mask)
        while self.firing.tokens < wanted and (coded := next(batches, None)) is not None:
            batch, self._place = coded.batch, coded.batch.next_place
            self.examples.add(batch.input_ids, batch.attention_mask, coded.selected, coded.codes)
            self.firing.add(batch.input_ids, coded.selected, coded.codes)
            if self.regions:
                self.regions.add(batch.input_ids, coded.selected, coded.codes)
            if time.perf_counter() - saved > SAVE_SECONDS:
                self._save()
                saved = time.perf_counter()
            yield self.firing.tokens
        self._save()

    def _save(self) -> None:
        progress = {"stream": self._place, "mask": self._mask.state_dict()}
        regions = self.regions.state_dict() if self.regions else {}
        counts = self.firing.state_dict() | {f"{REGIONS_IN_STORE}{name}": each for name, each in regions.items()}
        self._store.save(self.examples, progress, counts)

    def _restore(self) -> None:
        saved = self._store.load(self.examples)
        if saved is None:
            return
        progress, counts = saved
        self._tokens.load_state_dict(progress["stream"])
        self._mask.load_state_dict(progress["mask"])
        self.firing.load_state_dict(counts)
        if self.regions:
            names = [name for name in counts if name.startswith(REGIONS_IN_STORE)]
            self.regions.load_state_dict({name.removeprefix(REGIONS_IN_STORE): counts[name] for name in names})
