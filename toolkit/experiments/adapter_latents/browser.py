"""What the page to look through an adapter's latents shows of each."""

from toolkit.adapters.latent_names import latent_name
from toolkit.experiments.adapter_latents.measure import AdapterLatents
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.latents.examples import LatentExample
from toolkit.latents.latent_records import LatentRecord
from toolkit.latents.regions import PARTS, REGIONS
from toolkit.reports.latent_browser import BrowserFacts, Column, Example, LatentEntry, lift_columns
from toolkit.statistics.estimates import GIVEN_ONE_ADAPTER


def browser_facts(opened: AdapterRun, found: AdapterLatents) -> BrowserFacts:
    """What stands over the list of latents, and what its columns mean."""
    return BrowserFacts(
        title="Latents of an adapter",
        subtitle="What makes each latent fire, in which part of an answer, and which tokens its decoder row promotes.",
        facts={
            **opened.facts(),
            "latents": f"those that fired, named layer/index; {GIVEN_ONE_ADAPTER}: one of another seed has others",
            "tokens read": f"{found.firing.tokens:,} of {len(found.regions.tokens):,} documents",
            "strongest": "the largest code; a code counts the decoder row's norm, f‖W_dec‖",
            "in question, thinking, answer": "shares of the latent's summed codes; an opened latent also shows thinking"
            " by tenths, and the share of each region's tokens on which it fires",
            "lifts": "P(fire | token of the category, or token before one) / P(fire); 1 is chance",
            "examples": "coloured by code; no two windows of a latent overlap",
            "quarters": "a random sample of all firings, in order of strength",
            "logit lens": "logits of a stream that is the decoder row alone, by the final norm and the unembedding",
            "search": "words, and conditions on columns: layer=3 frequency<1% in-answer>50% lift:on-self-reflection>5",
        },
        columns=(
            Column(key="layer", title="layer", kind="count"),
            Column(key="frequency", title="frequency", kind="percent"),
            Column(key="strongest", title="strongest"),
            *(Column(key=f"in {part}", title=f"in {part}", kind="percent") for part in PARTS),
            *lift_columns(found.lifts),
            *(Column(key=f"in {each}", title=f"in {each}", kind="percent", listed=False) for each in REGIONS[1:-1]),
            *(
                Column(key=f"fires in {each}", title=f"fires in {each}", kind="percent", listed=False)
                for each in REGIONS
            ),
        ),
        sort="frequency",
        hint="3/17, a token it fires on, or layer=3",
    )


def entry(found: AdapterLatents, record: LatentRecord) -> LatentEntry:
    """What the browser shows of one latent."""
    number, regions = record.number, found.regions
    shares, rates = regions.shares[:, number], regions.rates[:, number]
    return LatentEntry(
        latent=latent_name(record.latent),
        statistics={
            "layer": record.latent[0],
            "frequency": record.frequency,
            "strongest": max((example.score for example in record.strongest), default=0.0),
            **{f"in {part}": float(shares[inside].sum()) for part, inside in PARTS.items()},
            **{f"lift:{name}": float(lift[number]) for name, lift in found.lifts.items()},
            **{f"in {name}": float(share) for name, share in zip(REGIONS[1:-1], shares[1:-1], strict=True)},
            **{f"fires in {name}": float(rate) for name, rate in zip(REGIONS, rates, strict=True)},
        },
        examples=[_shown(record, each) for each in record.strongest],
        quantile_samples=[(name, [_shown(record, each) for each in part]) for name, part in record.quarters],
        promoted={"adapter": record.promoted},
        suppressed={"adapter": record.suppressed},
    )


def _shown(record: LatentRecord, example: LatentExample) -> Example:
    return Example(
        tokens=record.tokens(example),
        activations=example.activations,
        peak=example.peak,
        document=str(example.document),
    )


def marked(record: LatentRecord, example: LatentExample) -> str:
    """The example on one line, the firing token between « and »."""
    tokens, peak = record.tokens(example), example.peak
    return " ".join(f"{''.join(tokens[:peak])} «{tokens[peak].strip()}»{''.join(tokens[peak + 1 :])}".split())
