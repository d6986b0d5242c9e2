"""What makes each latent of an adapter fire, where in an answer, and which tokens does it promote?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.adapters import modes
from toolkit.adapters.latent_names import latent_name, numbered_latent, parse_latents
from toolkit.adapters.modes import Latent
from toolkit.dictionaries.storage import weights_hash
from toolkit.experiments.adapter_latents import EXAMPLES, AdapterLatentsConfig
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.control import is_embedded
from toolkit.experiments.top_examples.measure import LARGEST_CODES, PLACES, read_on
from toolkit.fields import leaves
from toolkit.harvest.harvesting import open_mask
from toolkit.latents.adapter_behaviours import span_aurocs
from toolkit.latents.behaviours import FoundBehaviour, planted_behaviours
from toolkit.latents.categories import categories, load_lexicon
from toolkit.latents.coded_batches import adapter_batches
from toolkit.latents.example_pass import ExamplePass
from toolkit.latents.example_store import ExampleStore
from toolkit.latents.examples import TopExamples
from toolkit.latents.firing import FiringCounts
from toolkit.latents.latent_records import LatentRecord, adapter_records
from toolkit.latents.regions import RegionCounts
from toolkit.latents.span_labels import LabelledDocuments, read_labelled_documents
from toolkit.latents.windows import Window
from toolkit.leaving_out import TooFewError
from toolkit.models.text.token_texts import vocabulary_texts
from toolkit.training.streams import fitting_tokens

LARGEST_EXAMPLES = 2**31
"""Bytes of examples that are held at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AdapterLatents:
    """What was found of all latents; they are numbered by `latent_number`."""

    n_latents: int
    """Latents of each layer."""
    named: tuple[Latent, ...]
    """Those that were asked for."""
    firing: FiringCounts
    regions: RegionCounts
    blocks: Sequence[range]
    """The layers that were read together."""
    spans: Sequence[FoundBehaviour]
    pieces: Sequence[str]
    """The text of every token of the vocabulary, by id."""

    @cached_property
    def frequency(self) -> Float[Tensor, " latent"]:
        """Share of tokens on which each latent fires."""
        return self.firing.fired / self.firing.tokens

    @cached_property
    def alive(self) -> list[int]:
        """Latents that fired."""
        return (self.firing.fired > 0).nonzero()[:, 0].tolist()

    @cached_property
    def lifts(self) -> dict[str, Float[Tensor, " latent"]]:
        """Every latent's lift for each category, on its tokens and before them."""
        return {
            name.format(category.name): self.firing.lift(place)[index]
            for index, category in enumerate(self.firing.categories)
            for place, name in PLACES.items()
        }

    def name(self, number: int) -> str:
        """What a latent is called."""
        return latent_name(numbered_latent(number, self.n_latents))


@torch.no_grad()
def measure(settings: AdapterLatentsConfig, opened: AdapterRun) -> AdapterLatents:
    """Read the text on from where the files of examples in the settings' folder stand, and test latents on labels.

    Raises `ValueError` for a latent that does not exist, labels that cannot be read, and files of examples that were
    begun with other settings; `TooFewError` where no latent fires.
    """
    about, tokenizer = opened.adapter.config, opened.models.tokenizer
    named = parse_latents(settings.latents, about)
    labelled = _labelled(settings, opened)
    pieces = vocabulary_texts(tokenizer)
    blocks, parts = _blocks(settings, opened), []
    for layers in blocks:
        with open_store(settings, opened, layers) as store:
            reading = _open_reading(settings, opened, layers, pieces, store)
            read_on(settings.tokens, reading)
        assert reading.regions is not None
        parts.append((reading.firing, reading.regions))
    firings, regions = zip(*parts, strict=True)
    firing = FiringCounts.joined(firings)
    if not firing.fired.any():
        raise TooFewError(
            f"none of {len(firing.fired):,} latents fired on {firing.tokens:,} tokens: read more text, or train the"
            " adapter with a smaller penalty"
        )
    return AdapterLatents(
        n_latents=about.n_latents,
        named=named,
        firing=firing,
        regions=RegionCounts.joined(regions),
        blocks=blocks,
        spans=span_aurocs(opened.models, labelled, row_length=settings.row_length, seed=settings.seed)
        if labelled
        else [],
        pieces=pieces,
    )


def records(
    settings: AdapterLatentsConfig, opened: AdapterRun, found: AdapterLatents, latents: Sequence[Latent]
) -> Iterator[LatentRecord]:
    """Yield all that is known of these latents, in order of layers; examples of one block of layers are in memory."""
    for layers in found.blocks:
        inside = sorted(latent for latent in latents if latent[0] in layers)
        if not inside:
            continue
        examples = _new_examples(settings, opened, layers)
        with open_store(settings, opened, layers) as store:
            store.load(examples)
        yield from adapter_records(
            opened.models, layers, inside, examples=examples, frequency=found.frequency, pieces=found.pieces
        )


def open_store(settings: AdapterLatentsConfig, opened: AdapterRun, layers: range) -> ExampleStore:
    """The file of examples of a block of layers; raises `ValueError` if it was begun with other settings."""
    out = settings.output.out
    out.mkdir(parents=True, exist_ok=True)
    names = ("top", "sampled", "before", "after", "mode", "row_length", "seed")
    decides: dict[str, Any] = {
        "adapter": weights_hash(opened.adapter.state_dict()),
        "models": opened.models.fingerprints(),
        "text": opened.corpus.origin,
        "lexicon": load_lexicon(settings.lexicon),
        "layers": [*layers],
        "batch_tokens": _batch_tokens(settings, opened),
        **{name: getattr(settings, name) for name in names},
        **{name: value for name, value in leaves(opened.text) if name in ("data", "text_field")},
    }
    return ExampleStore(out / EXAMPLES.format(layers[0]), decides)


def _open_reading(
    settings: AdapterLatentsConfig, opened: AdapterRun, layers: range, pieces: Sequence[str], store: ExampleStore
) -> ExamplePass:
    """The pass over the text for a block of layers, as far as the store stands."""
    about = opened.adapter.config
    mode = {"adapter": modes.adapter, "hybrid": modes.hybrid, "distilled": modes.distilled}[settings.mode]
    words = categories(opened.models.tokenizer, load_lexicon(settings.lexicon))
    return ExamplePass(
        partial(adapter_batches, opened.models, layers, mode(about.n_layers)),
        opened.tokens(batch_tokens=_batch_tokens(settings, opened), row_length=settings.row_length),
        open_mask(),
        examples=_new_examples(settings, opened, layers),
        firing=FiringCounts(words, len(layers) * about.n_latents),
        regions=RegionCounts(pieces, len(layers), about.n_latents),
        store=store,
    )


def _new_examples(settings: AdapterLatentsConfig, opened: AdapterRun, layers: range) -> TopExamples:
    return TopExamples(
        len(layers) * opened.adapter.config.n_latents,
        top=settings.top,
        sampled=settings.sampled,
        window=_window(settings),
        generator=torch.Generator().manual_seed(settings.seed),
        device=opened.adapter[layers[0]].b_enc.device,
    )


def _window(settings: AdapterLatentsConfig) -> Window:
    return Window(before=settings.before, after=settings.after)


def _blocks(settings: AdapterLatentsConfig, opened: AdapterRun) -> list[range]:
    """The layers, in blocks that are read together."""
    n_layers = opened.adapter.config.n_layers
    together = _together(settings, opened)
    return [range(first, min(first + together, n_layers)) for first in range(0, n_layers, together)]


def _together(settings: AdapterLatentsConfig, opened: AdapterRun) -> int:
    about = opened.adapter.config
    bytes_a_layer = 8 * _window(settings).length * (settings.top + settings.sampled) * about.n_latents
    fitting = min(LARGEST_EXAMPLES // bytes_a_layer, LARGEST_CODES // (settings.row_length * about.n_latents))
    return min(about.n_layers, settings.layers_together or max(1, fitting))


def _batch_tokens(settings: AdapterLatentsConfig, opened: AdapterRun) -> int:
    """Of batches so small that the codes of one fit into memory; the same for all blocks, which read the same text."""
    numbers_a_token = _together(settings, opened) * opened.adapter.config.n_latents
    text = replace(opened.text, row_length=settings.row_length)
    return fitting_tokens(text, LARGEST_CODES, numbers_a_token)


def _labelled(settings: AdapterLatentsConfig, opened: AdapterRun) -> LabelledDocuments | None:
    if settings.labels is not None:
        return read_labelled_documents(settings.labels)
    return planted_behaviours(settings.labelled) if is_embedded(opened.models) else None
