"""The page to look through the latents that were labelled, with their labels."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import nan

from toolkit.annotation.evidence import Evidence, Name, Passage
from toolkit.annotation.trials import TESTS
from toolkit.experiments.latent_annotation.results import Annotated
from toolkit.latents.examples import QUARTERS
from toolkit.reports.latent_browser import BrowserFacts, Column, Example, LatentEntry, lift_columns

STRONGEST = 8


def browser_facts(found: Annotated) -> BrowserFacts:
    """What stands over the list of latents, and what its columns mean."""
    known = next(iter(found.gathered.evidence.values()))
    return BrowserFacts(
        title=f"Latents and what they mean, by {found.annotator}",
        subtitle="What makes each latent fire, what an annotator says of it, and how well that tells where it fires.",
        facts={
            **found.dictionary.run.facts(),
            "tokens read": f"{found.gathered.tokens:,} of {found.gathered.documents:,} documents",
            "detection, fuzzing": "balanced accuracy of the explanation on other documents; .5 is chance",
            "lifts": "the larger of P(fire | token of the category) and P(fire | token before one), over P(fire)",
            "examples": "passages that were explained, coloured by code",
        },
        columns=(
            Column(key="category", title="category", kind="text"),
            Column(key="third", title="NRN", kind="text"),
            *(Column(key=test, title=test, kind="thousandths") for test in TESTS),
            Column(key="frequency", title="frequency", kind="percent"),
            *lift_columns(known.lifts or {}),
            Column(key="explanation", title="explanation", kind="text", listed=False),
        ),
        sort="detection",
        hint="index, category, or detection>.8",
    )


def entries(found: Annotated) -> Iterator[LatentEntry]:
    """What the browser shows, latent by latent."""
    return (_entry(found, name, found.gathered.evidence[name]) for name in found.labels)


def _entry(found: Annotated, name: Name, evidence: Evidence) -> LatentEntry:
    label, scores = found.labels[name], found.scores.latents.get(name)
    passages = evidence.explaining
    cuts = [len(passages) * quarter // len(QUARTERS) for quarter in range(len(QUARTERS) + 1)]
    quarters = [passages[low:high] for low, high in pairwise(cuts)][::-1]
    return LatentEntry(
        latent=name,
        statistics={
            "category": label.category,
            "third": found.thirds.get(name, ""),
            **{test: scores[test].own.accuracy.value if scores else nan for test in TESTS},
            "frequency": evidence.frequency,
            **{f"lift:{category}": lift for category, lift in (evidence.lifts or {}).items()},
            "explanation": label.explanation,
        },
        examples=_shown(passages[:STRONGEST]),
        quantile_samples=[(title, _shown(part)) for title, part in zip(QUARTERS, quarters, strict=True)],
        promoted={"decoder row": evidence.promoted},
        suppressed={"decoder row": evidence.suppressed},
    )


def _shown(passages: Sequence[Passage]) -> list[Example]:
    return [
        Example(
            tokens=each.tokens,
            activations=each.codes,
            peak=each.codes.index(each.largest),
            document=str(each.document),
        )
        for each in passages
    ]
