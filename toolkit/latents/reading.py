"""What a crosscoder's latents do on texts: how often each fires, its examples, its categories and its model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.arguments import Indices, as_index
from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.formatting import counted
from toolkit.harvest.harvesting import Texts, batch_texts, open_mask
from toolkit.latents.categories import as_lexicon, expand, load_lexicon
from toolkit.latents.classification import LatentClasses, classify_fired
from toolkit.latents.coded_batches import coded_batches
from toolkit.latents.examples import TopExamples
from toolkit.latents.firing import PLACES, FiringCounts
from toolkit.latents.selection import ranked_latents
from toolkit.models.model.layers import check_layers
from toolkit.models.model_set import ModelSet
from toolkit.tracking import track

SEED = 0


class Listed(list[Any]):
    """A list whose repr has one line for each item."""

    def __repr__(self) -> str:
        return "\n".join(map(str, self))


@dataclass(frozen=True, kw_only=True)
class ShownExample:
    """A firing of a latent, as text."""

    latent: int
    score: float
    """The latent's code at the firing; codes can be compared between latents."""
    document: int
    """Number of the text, in the order in which texts were given."""
    text: str
    """The text around the firing; the token that fires stands between « and »."""

    def __str__(self) -> str:
        return f"latent {self.latent}  {self.score:8.3f}  text {self.document}  {self.text}".replace("\n", "⏎")


@dataclass(frozen=True, kw_only=True)
class CategoryLatent:
    """A latent, and how often it fires on a category's words."""

    category: str
    latent: int
    lift: float
    """P(fire | category) / P(fire); 1 means that the category makes no difference."""
    rate: float
    """P(fire | category)."""
    frequency: float
    """P(fire)."""

    def __str__(self) -> str:
        return (
            f"latent {self.latent}  lift {self.lift:.1f} for {self.category}: fires on {self.rate:.1%} of it,"
            f" on {self.frequency:.2%} of all tokens"
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LatentReading:
    """What every latent of a crosscoder did on texts; `read_latents` returns it."""

    models: ModelSet
    crosscoder: Crosscoder
    firing: FiringCounts
    top: TopExamples
    documents: Sequence[int]
    """Number of each text, in the order of reading."""

    @property
    def frequency(self) -> Float[Tensor, " latent"]:
        """Return the share of tokens on which each latent fires."""
        return self.firing.fired / max(1, self.firing.tokens)

    @cached_property
    def classes(self) -> LatentClasses:
        """Return which model each latent belongs to, comparing the first and the last model; see `classify`."""
        return self.classify()

    def classify(self, compared: tuple[str, str] | None = None) -> LatentClasses:
        """Return which of two models, by name, each latent belongs to; raises `ValueError` as `classify_fired`."""
        chance = torch.Generator().manual_seed(SEED)
        return classify_fired(self.crosscoder, self.firing.fired, self.firing.mass, chance, compared=compared)

    def examples(self, latents: Indices, n: SupportsIndex | None = None) -> Listed:
        """Return the `n` strongest firings of each latent as `ShownExample`s; by default all that were kept.

        Raises `ValueError` for a latent that does not exist, and for fewer than one example.
        """
        numbers = check_latents(latents, self.top.n_latents)
        n = self.top.top.n if n is None else as_index(n, "n")
        if not 1 <= n <= self.top.top.n:
            raise ValueError(f"n {n}: give 1 to {self.top.top.n}, or call read_latents with a larger examples=")
        tokenizer = self.models.tokenizer
        return Listed(
            ShownExample(
                latent=latent,
                score=example.score,
                document=self.documents[example.document],
                text=example.text(tokenizer),
            )
            for latent in numbers
            for example in self.top.strongest(latent)[:n]
        )

    def of(self, category: str, n: SupportsIndex = 10, *, place: str = "token") -> Listed:
        """Return the `n` latents with the largest lift for a category, the best first, as `CategoryLatent`s.

        `place` says where firing is counted: "token", on the category's words, or "predicting", on the token before,
        where the model predicts them. A latent must have fired there five times. Raises `ValueError` for a category
        that was not given, or whose words are not in the texts.
        """
        if place not in PLACES:
            raise ValueError(f"place {place!r}: give one of {', '.join(PLACES)}")
        index, n = self._index(category), as_index(n, "n")
        if n < 1:
            raise ValueError(f"n {n}: give at least 1")
        everyone = torch.ones_like(self.firing.fired, dtype=torch.bool)
        best = ranked_latents(self.firing, index, rule="lift", place=place, eligible=everyone)[:n].tolist()
        lift, rate = self.firing.lift(place)[index], self.firing.rate(place)[index]
        return Listed(
            CategoryLatent(
                category=category,
                latent=latent,
                lift=float(lift[latent]),
                rate=float(rate[latent]),
                frequency=float(self.frequency[latent]),
            )
            for latent in best
        )

    def _index(self, category: str) -> int:
        seen, left_out = self.firing.seen()
        category = category if isinstance(category, str) else repr(category)
        if category in left_out:
            raise ValueError(left_out[category])
        if category not in seen:
            raise ValueError(
                f"no category {category!r}: give one of {', '.join(seen)}, or others to"
                " read_latents(categories={'name': [words]})"
            )
        return seen[category]

    def __repr__(self) -> str:
        fired, n = int((self.firing.fired > 0).sum()), len(self.firing.fired)
        l0 = float(self.firing.fired.sum()) / max(1, self.firing.tokens)
        categories = ", ".join(category.name for category in self.firing.categories)
        return (
            f"LatentReading: {self.firing.tokens:,} tokens of {counted(len(self.documents), 'text')}; {fired:,} of"
            f" {n:,} latents fired, {l0:.1f} a token\ncategories: {categories}"
        )


def read_latents(
    models: ModelSet,
    crosscoder: Crosscoder,
    texts: Texts,
    *,
    categories: Mapping[str, Sequence[str]] | None = None,
    examples: SupportsIndex = 10,
    row_length: SupportsIndex | None = None,
) -> LatentReading:
    """Read texts, as `harvest_texts` takes them, and return what every latent does on them.

    The streams are read at the sites of the crosscoder. `categories` maps names to lists of words, by default the
    shipped ones; `examples` is how many of the strongest firings of each latent are kept. Memory is about 0.3 kB ×
    latents × examples, whatever the length of the texts.
    Raises `ValueError` as `harvest_texts` does, and for a crosscoder of other models.
    """
    layers = crosscoder.config.layers
    if min(layers) >= 0 and layers != models.layers:
        models = replace(models, layers=check_layers(layers, models.n_layers))
    words = load_lexicon() if categories is None else as_lexicon(categories)
    firing = FiringCounts(expand(models.tokenizer, words), crosscoder.config.n_latents)
    top = TopExamples(
        crosscoder.config.n_latents,
        generator=torch.Generator().manual_seed(SEED),
        top=as_index(examples, "examples"),
        sampled=0,
        device=crosscoder.b_dec.device,
    )
    documents: list[int] = []
    batches = chain.from_iterable(batch_texts(models, texts, row_length=row_length))
    for coded in track(coded_batches(models, crosscoder, batches, open_mask()), "reading text", "batches"):
        ids = coded.batch.input_ids
        firing.add(ids, coded.selected, coded.codes)
        top.add(ids, coded.batch.attention_mask, coded.selected, coded.codes)
        documents += coded.batch.documents.tolist()
    if not firing.tokens:
        raise ValueError("the texts hold no token that counts: give texts of at least two tokens")
    return LatentReading(models=models, crosscoder=crosscoder, firing=firing, top=top, documents=documents)
