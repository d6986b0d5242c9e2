"""What makes each latent fire, and what does it say? Examples, lenses and lifts, for a page to look through."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.crosscoder import check_latents
from toolkit.dictionaries.latent_scaling import LatentScaling, ScalingRatios
from toolkit.dictionaries.storage import weights_hash
from toolkit.experiments.run import Run
from toolkit.experiments.top_examples import TopExamplesConfig
from toolkit.latents.categories import categories, load_lexicon
from toolkit.latents.choices import Place
from toolkit.latents.classification import LatentClasses, classify_fired
from toolkit.latents.coded_batches import coded_batches
from toolkit.latents.example_pass import ExamplePass
from toolkit.latents.example_store import ExampleStore
from toolkit.latents.examples import TopExamples
from toolkit.latents.firing import FiringCounts, check_alive
from toolkit.latents.logit_lens import TokenLens, logit_lens
from toolkit.latents.windows import Window
from toolkit.leaving_out import check_any, measurable
from toolkit.models.text.token_texts import vocabulary_texts
from toolkit.tracking import track
from toolkit.training.streams import fitting_tokens

LARGEST_CODES = 2**27
SCALING_TOKENS = 32_768
PLACES: dict[Place, str] = {"token": "on {}", "predicting": "before {}"}
"""A category's lift on its own tokens, and on the tokens before them, where the model decides for it."""
TEXT_FIELDS = ("data", "text_field", "mix", "row_length", "keep_position_0", "drop_tokens", "outlier_factor", "seed")


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentRecords:
    """All that was found about some latents; `lens` has a line for each of `latents`, the rest knows all latents."""

    latents: tuple[int, ...]
    """Those that are shown."""
    examples: TopExamples
    firing: FiringCounts
    classes: LatentClasses
    nu: Float[Tensor, " latent"]
    """The larger of ν^ε and ν^r; NaN for a latent that did not fire where they were measured."""
    lens: dict[str, TokenLens]
    """By model."""
    pieces: list[str]
    """Every token as text."""
    left_out: Mapping[int, str]
    """Why a latent that was asked for is not shown."""

    @cached_property
    def frequency(self) -> Float[Tensor, " latent"]:
        """Share of tokens on which each latent fires."""
        return self.firing.fired / self.firing.tokens

    @cached_property
    def tags(self) -> list[str]:
        """Every latent's tag by NRN."""
        return list(self.classes.nrn_tags())

    @cached_property
    def lifts(self) -> dict[str, Float[Tensor, " latent"]]:
        """Every latent's lift for each category, on its tokens and before them."""
        return {
            name.format(category.name): self.firing.lift(place)[index]
            for index, category in enumerate(self.firing.categories)
            for place, name in PLACES.items()
        }

    def tokens(self, line: int, model: str, *, promoted: bool) -> list[tuple[str, float]]:
        """The tokens that a model's row of the `line`-th latent promotes or suppresses most, with their logits."""
        return self.lens[model].tokens(self.latents[line], promoted=promoted)


def measure(settings: TopExamplesConfig, opened: Run) -> LatentRecords:
    """Read the text on from where the file of examples in the settings' folder stands, and look at the latents.

    Latents asked for by index that never fired are left out; raises `TooFewError` where none of them fired, and
    `ValueError` as `open_store` and `open_reading`.
    """
    with open_store(settings, opened) as store:
        reading = open_reading(settings, opened, store)
        read_on(settings.tokens, reading)
    firing = reading.firing
    asked = dict.fromkeys(settings.latents or (firing.fired > 0).nonzero()[:, 0].tolist())
    shown, left_out = measurable(asked, lambda latent: check_alive(firing, [latent]))
    check_any(shown, left_out)
    ratios, tokenizer = _scaling(opened), opened.models.tokenizer
    crosscoder, chance = opened.crosscoder, torch.Generator().manual_seed(settings.seed)
    return LatentRecords(
        latents=tuple(shown),
        examples=reading.examples,
        firing=firing,
        classes=classify_fired(crosscoder, firing.fired, firing.mass.float(), chance),
        nu=torch.maximum(ratios.nu_error, ratios.nu_reconstruction),
        lens=logit_lens(opened.models, crosscoder, tuple(shown)),
        pieces=vocabulary_texts(tokenizer),
        left_out=left_out,
    )


def open_store(settings: TopExamplesConfig, opened: Run) -> ExampleStore:
    """The file of examples in `settings.output.out`; raises `ValueError` if it was begun with other settings."""
    settings.output.out.mkdir(parents=True, exist_ok=True)
    return ExampleStore(settings.output.out / "examples.sqlite", _settings(settings, opened))


def _settings(settings: TopExamplesConfig, opened: Run) -> dict[str, Any]:
    """All that decides which examples are found, but for how far the text is read."""
    run = opened.reading.settings()
    names = ("top", "sampled", "before", "after")
    return {
        "crosscoder": weights_hash(opened.crosscoder.state_dict()),
        "models": opened.models.fingerprints(),
        "text": opened.corpus.origin,
        "lexicon": load_lexicon(settings.lexicon),
        "draws": settings.seed,
        **{name: getattr(settings, name) for name in names},
        **{name: run[name] for name in TEXT_FIELDS},
    }


def open_reading(settings: TopExamplesConfig, opened: Run, store: ExampleStore) -> ExamplePass:
    """The pass over the text, as far as the store stands; raises `ValueError` for latents that do not exist."""
    if settings.latents:
        check_latents(settings.latents, opened.crosscoder.config.n_latents)
    n_latents = opened.crosscoder.config.n_latents
    examples = TopExamples(
        n_latents,
        top=settings.top,
        sampled=settings.sampled,
        window=Window(before=settings.before, after=settings.after),
        generator=torch.Generator().manual_seed(settings.seed),
        device=opened.crosscoder.b_dec.device,
    )
    words = categories(opened.models.tokenizer, load_lexicon(settings.lexicon))
    return ExamplePass(
        partial(coded_batches, opened.models, opened.crosscoder),
        opened.tokens(batch_tokens=_batch_tokens(opened)),
        opened.open_mask(),
        examples=examples,
        firing=FiringCounts(words, n_latents),
        store=store,
    )


def read_on(tokens: int, reading: ExamplePass) -> None:
    """Read until `tokens` tokens are read in all."""
    before = reading.firing.tokens
    steps = (after - start for start, after in pairwise(chain([before], reading.read(tokens))))
    for _ in track(steps, "reading text", "tokens", total=max(0, tokens - before), size=int):
        pass


def _batch_tokens(opened: Run) -> int:
    """Of batches so small that the codes of one fit into memory, however many latents there are."""
    return fitting_tokens(opened.reading.text, LARGEST_CODES, opened.crosscoder.config.n_latents)


def _scaling(opened: Run) -> ScalingRatios:
    scaling = LatentScaling(opened.crosscoder)
    for batch in opened.coded(SCALING_TOKENS, batch_tokens=_batch_tokens(opened)):
        scaling.add(batch.activations, batch.codes)
    return scaling.ratios()
