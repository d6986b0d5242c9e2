"""What makes latents fire and what they promote: a browser to look through, and tables of the best."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from toolkit.experiments.category_latents import category_tables
from toolkit.experiments.crosscoder.page import mean_nrn_headlines
from toolkit.experiments.run import Run
from toolkit.experiments.top_examples import TopExamplesConfig
from toolkit.experiments.top_examples.measure import SCALING_TOKENS, LatentRecords
from toolkit.formatting import percent
from toolkit.latents.examples import LatentExample
from toolkit.reports.findings import Findings, Headline, Table, left_out_tables
from toolkit.reports.latent_browser import BrowserFacts, Column, Example, LatentEntry, lift_columns, write_browser
from toolkit.statistics.estimates import GIVEN_ONE
from toolkit.tracking import track

DETAILED, EXAMPLES = 8, 5


@dataclass(frozen=True, kw_only=True)
class LatentStatistics:
    """The numbers of one latent; NaN where one was not measured."""

    latent: int
    tag: str
    """`base only`, `shared`, `distilled only`, or another group."""
    nrn: float
    cosine: float
    """Between its two decoder rows."""
    nu: float
    """Latent-scaling ratio."""
    frequency: float
    """Share of tokens on which it fires."""
    lifts: dict[str, float]
    """Category to P(fires | category) / P(fires); the same categories for every latent."""

    def columns(self) -> dict[str, str | float]:
        """The same by the browser's columns, which have the latent's name beside them."""
        own = {name: value for name, value in asdict(self).items() if name not in ("latent", "lifts")}
        return own | {f"lift:{category}": lift for category, lift in self.lifts.items()}


COLUMNS = (
    Column(key="tag", title="tag", kind="text"),
    Column(key="nrn", title="NRN", kind="thousandths"),
    Column(key="cosine", title="cosine", kind="thousandths"),
    Column(key="nu", title="ν", kind="thousandths"),
    Column(key="frequency", title="frequency", kind="percent"),
)


def page(settings: TopExamplesConfig, opened: Run, found: LatentRecords) -> Findings:
    """The latents closest to each category, and what single latents fire on where they were asked for by index.

    Writes the browser of all that are shown into the settings' folder.
    """
    shown = track(entries(found), "writing pages", "latents", total=len(found.latents))
    browser = write_browser(settings.output.out, shown, browser_facts(opened, found))
    firing, classes, documents = found.firing, found.classes, found.examples.documents
    return Findings(
        name="top_examples",
        title=f"Top examples: {' → '.join(opened.models.origins)}",
        question="What makes each latent fire, and which tokens does it promote?",
        facts={
            **opened.facts(),
            "read": f"{firing.tokens:,} tokens of {documents:,} documents",
            "browser": str(browser),
        },
        headline=[
            Headline(
                name="alive latents",
                value=int(classes.alive.sum()),
                n=found.examples.n_latents,
                unit="latents",
                note=f"fired on {firing.tokens:,} held-out tokens; {len(found.latents):,} are shown",
            ),
            *mean_nrn_headlines(classes),
        ],
        tables=[
            *category_tables(
                firing, found.latents, given=GIVEN_ONE, more={"NRN": lambda latent: float(classes.nrn[latent])}
            ),
            *(_detail_tables(found) if settings.latents else []),
            *left_out_tables("latent", found.left_out),
        ],
        charts=(),
        results={
            "tokens": firing.tokens,
            "documents": documents,
            "categories": {
                category.name: {"tokens": category.tokens, "n": int(n)}
                for category, n in zip(firing.categories, firing.n["token"], strict=True)
            },
            "latents": [asdict(_statistics(found, latent)) for latent in found.latents],
        },
    )


def browser_facts(opened: Run, found: LatentRecords) -> BrowserFacts:
    """What stands over the list of latents, and what its columns mean."""
    first, last = found.classes.models
    return BrowserFacts(
        title=f"Latents: {' → '.join(opened.models.origins)}",
        subtitle="What makes each latent fire, and which tokens its two decoder rows promote.",
        facts={
            **opened.facts(),
            "latents": f"{GIVEN_ONE}: one of another seed has others",
            "tokens read": f"{found.firing.tokens:,} of {found.examples.documents:,} documents",
            "NRN": f"norm of the {last} decoder row over that of both; 0 {first} only, 1 {last} only",
            "cosine": "between the two decoder rows",
            "ν": f"latent scaling on {SCALING_TOKENS:,} tokens, the larger of error and reconstruction; 0 exclusive",
            "lifts": "P(fire | token of the category, or token before one) / P(fire); 1 is chance",
            "examples": "coloured by code, which counts decoder norms; no two windows of a latent overlap",
            "quarters": "a random sample of all firings, in order of strength",
            "logit lens": "logits of a stream that is the decoder row alone, split by the rows' norms",
        },
        columns=(*COLUMNS, *lift_columns(found.lifts)),
        sort="nrn",
        hint="index, tag, or a token it fires on or promotes",
    )


def entries(found: LatentRecords) -> Iterator[LatentEntry]:
    """What the browser shows, latent by latent."""
    return (_entry(found, line, latent) for line, latent in enumerate(found.latents))


def _entry(found: LatentRecords, line: int, latent: int) -> LatentEntry:
    return LatentEntry(
        latent=latent,
        statistics=_statistics(found, latent).columns(),
        examples=[_shown(found, each) for each in found.examples.strongest(latent)],
        quantile_samples=[
            (name, [_shown(found, each) for each in part]) for name, part in found.examples.quarters(latent)
        ],
        promoted={model: found.tokens(line, model, promoted=True) for model in found.lens},
        suppressed={model: found.tokens(line, model, promoted=False) for model in found.lens},
    )


def _statistics(found: LatentRecords, latent: int) -> LatentStatistics:
    return LatentStatistics(
        latent=latent,
        tag=found.tags[latent],
        nrn=float(found.classes.nrn[latent]),
        cosine=float(found.classes.cosine[latent]),
        nu=float(found.nu[latent]),
        frequency=float(found.frequency[latent]),
        lifts={name: float(lift[latent]) for name, lift in found.lifts.items()},
    )


def _shown(found: LatentRecords, example: LatentExample) -> Example:
    """An example in words."""
    return Example(
        tokens=[found.pieces[token] for token in example.token_ids],
        activations=example.activations,
        peak=example.peak,
        document=str(example.document),
    )


def _detail_tables(found: LatentRecords) -> list[Table]:
    """The first latents' strongest examples, with what their rows promote."""
    return [_detail_table(found, line, latent) for line, latent in enumerate(found.latents[:DETAILED])]


def _detail_table(found: LatentRecords, line: int, latent: int) -> Table:
    examples = found.examples.strongest(latent)[:EXAMPLES]
    return Table(
        title=f"Latent {latent}: {found.tags[latent]}, NRN {float(found.classes.nrn[latent]):.3f},"
        f" fires on {percent(float(found.frequency[latent]))} of tokens",
        columns=("strongest examples", "code"),
        rows=[(_marked(_shown(found, example)), example.score) for example in examples],
        note="; ".join(f"{model} promotes {_words(found, line, model)}" for model in found.lens),
    )


def _words(found: LatentRecords, line: int, model: str) -> str:
    tokens = found.tokens(line, model, promoted=True)[:EXAMPLES]
    return ", ".join(token.strip() or repr(token) for token, _ in tokens)


def _marked(example: Example) -> str:
    """The example on one line, the firing token between « and »."""
    token = example.tokens[example.peak]
    space = token[: len(token) - len(token.lstrip())]
    before, after = (example.tokens[: example.peak], example.tokens[example.peak + 1 :])
    return " ".join(f"{''.join(before)}{space}«{token.strip()}»{''.join(after)}".split())
