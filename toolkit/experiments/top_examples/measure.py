"""What makes each latent fire, and what does it say? Examples, lenses and lifts, for a page to look through."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from toolkit.dictionaries.crosscoder import check_latents
from toolkit.dictionaries.latent_scaling import LatentScaling, ScalingRatios
from toolkit.dictionaries.storage import weights_hash
from toolkit.experiments.crosscoder.page import mean_nrn_headline
from toolkit.experiments.run import FindingsConfig, Subject, check_alive
from toolkit.experiments.top_examples.latent_records import LatentRecords, category_tables, detail_tables
from toolkit.latents.categories import categories, load_lexicon
from toolkit.latents.classification import classify
from toolkit.latents.example_pass import ExamplePass
from toolkit.latents.example_store import ExampleStore
from toolkit.latents.examples import TopExamples
from toolkit.latents.firing import FiringCounts
from toolkit.latents.logit_lens import logit_lens
from toolkit.latents.windows import Window
from toolkit.leaving_out import check_any, measurable
from toolkit.outputs import Claim
from toolkit.ranges import Count
from toolkit.reports.findings import Findings, Headline, left_out_tables
from toolkit.reports.latent_browser import BROWSER, BrowserFacts
from toolkit.training.streams import fitting_tokens, open_tokens

LARGEST_CODES = 2**27
SCALING_TOKENS = 32_768
EXAMPLES = Claim(
    changing=("examples.sqlite", "examples.sqlite-wal", "examples.sqlite-shm"),
    signs={"top_examples.json": ("question", "results", "provenance")},
)
TEXT_FIELDS = ("data", "text_field", "mix", "row_length", "keep_position_0", "drop_tokens", "outlier_factor", "seed")


@dataclass(frozen=True, kw_only=True)
class TopExamplesConfig(FindingsConfig):
    """Which text makes latents fire, strongest and at all strengths, and which tokens they promote."""

    FINDINGS, OTHERS = ("top_examples",), (BROWSER, EXAMPLES)
    out: Path = Path("runs/top_examples")
    """Folder for examples.sqlite, the browser, the page and the JSON; an examples.sqlite there is gone on with."""
    latents: tuple[int, ...] = ()
    """Latents to show; default: all. Examples are kept of all, so the next ones come at once."""
    tokens: Count = 262_144
    """Held-out tokens to read in all; ask for more later, and only those are read."""
    top: int = 10
    """Strongest examples kept of each latent."""
    sampled: int = 12
    """Examples drawn from all firings of each latent, shown in quarters from weak to strong."""
    before: int = 24
    """Tokens of context shown before the firing."""
    after: int = 8
    """Tokens of context shown after it."""
    lexicon: Path | None = None
    """JSON file of category words, {"category": ["word", ...]}; default: those of the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("top", 1), ("sampled", 1), ("before", 0), ("after", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} {getattr(self, name)}: must be at least {least}")


def open_store(config: TopExamplesConfig, subject: Subject) -> ExampleStore:
    """The file of examples in `config.out`; raises `ValueError` if it was begun with other settings."""
    config.out.mkdir(parents=True, exist_ok=True)
    return ExampleStore(config.out / "examples.sqlite", _settings(config, subject))


def _settings(config: TopExamplesConfig, subject: Subject) -> dict[str, Any]:
    """All that decides which examples are found, but for how far the text is read."""
    run = subject.config.settings()
    names = ("top", "sampled", "before", "after")
    return {
        "crosscoder": weights_hash(subject.crosscoder.state_dict()),
        "models": subject.pair.fingerprints(),
        "text": subject.corpus.origin,
        "lexicon": load_lexicon(config.lexicon),
        "draws": config.seed,
        **{name: getattr(config, name) for name in names},
        **{name: run[name] for name in TEXT_FIELDS},
    }


def open_reading(config: TopExamplesConfig, subject: Subject, store: ExampleStore) -> ExamplePass:
    """The pass over the text, as far as the store stands; raises `ValueError` for latents that do not exist."""
    if config.latents:
        check_latents(config.latents, subject.crosscoder.config.n_latents)
    n_latents = subject.crosscoder.config.n_latents
    examples = TopExamples(
        n_latents,
        top=config.top,
        sampled=config.sampled,
        window=Window(before=config.before, after=config.after),
        generator=subject.generator(config.seed),
        device=subject.crosscoder.b_dec.device,
    )
    words = categories(subject.pair.tokenizer, load_lexicon(config.lexicon))
    return ExamplePass(
        subject.pair,
        subject.crosscoder,
        open_tokens(subject.config, subject.pair, subject.corpus.held_out, batch_tokens=_batch_tokens(subject)),
        subject.open_mask(),
        examples=examples,
        firing=FiringCounts(words, n_latents),
        store=store,
    )


def read_on(config: TopExamplesConfig, reading: ExamplePass, progress: Callable[[int], None]) -> None:
    """Read the text on; `progress` is told the tokens read so far."""
    for tokens in reading.read(config.tokens):
        progress(min(tokens, config.tokens))


def examine_latents(config: TopExamplesConfig, subject: Subject, reading: ExamplePass) -> LatentRecords:
    """Compare decoder rows of what was read, and read them by the logit lens.

    Latents asked for by index that never fired are left out; raises `TooFewError` where none of them fired.
    """
    firing = reading.firing
    asked = dict.fromkeys(config.latents or (firing.fired > 0).nonzero()[:, 0].tolist())
    shown, left_out = measurable(asked, lambda latent: check_alive(firing, [latent]))
    check_any(shown, left_out)
    return replace(_records(config, subject, reading, tuple(shown)), left_out=left_out)


def _batch_tokens(subject: Subject) -> int:
    """Of batches so small that the codes of one fit into memory, however many latents there are."""
    return fitting_tokens(subject.config, LARGEST_CODES, subject.crosscoder.config.n_latents)


def _records(
    config: TopExamplesConfig, subject: Subject, reading: ExamplePass, latents: tuple[int, ...]
) -> LatentRecords:
    firing, crosscoder = reading.firing, subject.crosscoder
    ratios, tokenizer = _scaling(subject), subject.pair.tokenizer
    return LatentRecords(
        latents=latents,
        examples=reading.examples,
        firing=firing,
        classes=classify(crosscoder.W_dec, firing.fired, firing.mass.float(), subject.generator(config.seed)),
        nu=torch.maximum(ratios.nu_error, ratios.nu_reconstruction),
        lens=logit_lens(subject.pair, crosscoder, latents),
        pieces=tokenizer.batch_decode([[token] for token in range(len(tokenizer))]),
    )


def _scaling(subject: Subject) -> ScalingRatios:
    scaling = LatentScaling(subject.crosscoder)
    for batch in subject.coded(SCALING_TOKENS, batch_tokens=_batch_tokens(subject)):
        scaling.add(batch.activations, batch.codes)
    return scaling.ratios()


def browser_facts(subject: Subject, records: LatentRecords) -> BrowserFacts:
    """What stands over the list of latents, and what its columns mean."""
    return BrowserFacts(
        title=f"Latents: {' → '.join(subject.pair.origins)}",
        subtitle="What makes each latent fire, and which tokens its two decoder rows promote.",
        facts={
            **subject.facts(),
            "tokens read": f"{records.firing.tokens:,} of {records.examples.documents:,} documents",
            "NRN": "norm of the distilled decoder row over that of both; 0 base only, 1 distilled only",
            "cosine": "between the two decoder rows",
            "ν": f"latent scaling on {SCALING_TOKENS:,} tokens, the larger of error and reconstruction; 0 exclusive",
            "lifts": "P(fire | token of the category, or token before one) / P(fire); 1 is chance",
            "examples": "coloured by code, which counts decoder norms; no two windows of a latent overlap",
            "quarters": "a random sample of all firings, in order of strength",
            "logit lens": "logits of a stream that is the decoder row alone, split by the rows' norms",
        },
    )


def top_examples_findings(config: TopExamplesConfig, subject: Subject, records: LatentRecords) -> Findings:
    """The latents closest to each category, and what single latents fire on where they were asked for by index."""
    firing, classes = records.firing, records.classes
    return Findings(
        name="top_examples",
        title=f"Top examples: {' → '.join(subject.pair.origins)}",
        question="What makes each latent fire, and which tokens does it promote?",
        facts={**subject.facts(), "read": f"{firing.tokens:,} tokens of {records.examples.documents:,} documents"},
        headline=[
            Headline(
                name="alive latents",
                value=int(classes.alive.sum()),
                n=records.examples.n_latents,
                unit="latents",
                note=f"fired on {firing.tokens:,} held-out tokens; {len(records.latents):,} are shown",
            ),
            mean_nrn_headline(classes),
        ],
        tables=[
            *category_tables(records),
            *(detail_tables(records) if config.latents else []),
            *left_out_tables("latent", records.left_out),
        ],
        charts=(),
        results={
            "tokens": firing.tokens,
            "documents": records.examples.documents,
            "categories": {
                category.name: {"tokens": category.tokens, "n": int(n)}
                for category, n in zip(firing.categories, firing.n["token"], strict=True)
            },
            "latents": records.summaries(),
        },
    )
