"""The tables of the annotation page."""

from collections import Counter
from pathlib import Path
from typing import Any

from toolkit.annotation.agreement import kappa
from toolkit.annotation.enrichment import REASONING, THIRDS
from toolkit.annotation.label_files import LabelFile
from toolkit.annotation.labels import CATEGORIES
from toolkit.annotation.rules import LEAST_LIFT, LEAST_SHARE
from toolkit.annotation.trials import TESTS
from toolkit.artifacts import read_json_object
from toolkit.experiments.latent_annotation.results import Annotated
from toolkit.reports.findings import Cell, Table
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.shares import wilson

PUBLISHED = Path(__file__).parents[2] / "data" / "published" / "annotation.json"


def category_table(found: Annotated) -> Table:
    """Categories by third of the NRN scale, where latents have an NRN; else of all latents."""
    enrichment = found.enrichment
    if not enrichment.counts:
        labels = [label.category for label in found.labels.values()]
        return Table(
            title="Categories",
            columns=("category", "share of labels"),
            rows=[[category, wilson(labels.count(category), len(labels))] for category in CATEGORIES],
            note=f"Of {len(labels):,} latents, {found.chosen.why}, with 95 % Wilson intervals.",
        )
    thirds = [*enrichment.counts]
    rows: list[list[Cell]] = [["any of reasoning", *(enrichment.reasoning[third] for third in thirds)]]
    seen = sum(found.blind[name] != label.category for name, label in found.labels.items())
    if seen:
        rows.append(["any of reasoning, by text alone", *found.blind_enrichment.reasoning.values()])
    rows += [[category, *(enrichment.share(third, category) for third in thirds)] for category in CATEGORIES]
    sizes = ", ".join(f"{counts.total():,} in the {third}" for third, counts in enrichment.counts.items())
    return Table(
        title="Categories by third of the NRN scale",
        columns=("category", *thirds),
        rows=rows,
        note=f"Shares of the labelled latents, {sizes}, {found.chosen.why}; 95 % Wilson intervals over latents, given"
        f" this crosscoder. The {THIRDS[0]} leans most to the first model, the {THIRDS[-1]} to the last; thirds are of"
        f" all latents that fire. Reasoning: {', '.join(REASONING)}."
        + (f" {seen:,} of all {len(found.labels):,} labels are what labelled spans say, not the text." if seen else ""),
    )


def score_table(found: Annotated) -> Table:
    """Either test over all latents, with its controls."""
    compared = found.scores.comparisons
    failures = sum(map(found.failures, TESTS), Counter[str]())
    why = ", ".join(f"{reason} ({n:,})" for reason, n in failures.most_common())
    return Table(
        title="How well explanations tell where latents fire",
        columns=("test", "own explanation", "another latent's", "shuffled labels", "latents", "passages", "no reply"),
        rows=[
            [test, each.own, each.random, each.shuffled, each.n, each.passages, each.failed]
            for test, each in ((test, compared[test]) for test in TESTS)
        ],
        note="Balanced accuracy, .5 by chance: means over latents with 95 % intervals over latents. Detection: in which"
        " passages does a latent of this explanation fire? Half of the silent ones are those in which its closest"
        " neighbours fire. Fuzzing: are the marked tokens those that fire? Passages are of other documents than those"
        " that were explained. Another latent's: the explanation of a random other latent on the same passages;"
        " it may name tokens that this one fires on too, and is then a little better than chance."
        f" Passages without a usable reply are left out and counted{f': {why}' if why else ''}.",
    )


def behaviour_table(found: Annotated) -> Table:
    """The best latent of each labelled behaviour, and what it was called."""
    rows: list[list[Cell]] = []
    for each in found.behaviours:
        label = found.labels.get(each.latent)
        said = [found.blind.get(each.latent), label.category if label else None]
        rows.append([each.label, str(each.latent), each.auroc, each.category, *said])
    (blind, blind_chance), (right, chance) = (found.named_right(blind=each) for each in (True, False))
    return Table(
        title="Labels of the latents that find labelled behaviours best",
        columns=("behaviour", "best latent", "AUROC", "is", "by text alone", "label"),
        rows=rows,
        note=f"By text alone, without a look at labelled spans, {blind} of {len(rows)} are called what they are"
        f" ({blind_chance:.1f} by chance); {right} are by their labels ({chance:.1f} by chance). Chance: theirs drawn"
        " from those of the other latents. The best latent is chosen by AUROC on even documents; its AUROC, and the"
        f" spans that the rules look at, are of odd ones: at least {LEAST_SHARE:.0%} of the latent's activation is in a"
        f" label's spans, and {LEAST_LIFT:g} times as much as of all tokens.",
    )


def agreement_table(found: Annotated) -> Table:
    """How far each other annotator agrees with this one."""
    return Table(
        title=f"Agreement with {found.annotator}",
        columns=("annotator", "Cohen's κ", "same category", "latents"),
        rows=[[other.annotator, *agreement(found, other)] for other in found.compared],
        note="κ: 1 is full agreement, 0 is that of chance; 95 % intervals over latents that both have labelled.",
    )


def agreement(found: Annotated, other: LabelFile) -> tuple[Estimate, Estimate | None, int]:
    """Cohen's κ, the share of latents with the same category, and how many both have labelled."""
    own = {str(name): label.category for name, label in found.labels.items()}
    both = [(own[name], label.category) for name, label in other.labels.items() if name in own]
    same = wilson(sum(a == b for a, b in both), len(both)) if both else None
    return kappa([a for a, _ in both], [b for _, b in both]), same, len(both)


def published_table() -> Table:
    """The published counts at the ends of the NRN scale."""
    content: dict[str, Any] = read_json_object(PUBLISHED)
    return Table(
        title=f"Published labels by {content['annotator']} ({content['pair']})",
        columns=("latents", "any of reasoning", "self-reflection", "deductive", "n"),
        rows=[
            [end, wilson(each["reasoning"], each["n"]), each.get("self-reflection"), each.get("deductive"), each["n"]]
            for end, each in content["ends"].items()
        ],
        note=f"{content['source']}: {content['measure']}. 95 % Wilson intervals are ours.",
    )


def label_table(found: Annotated) -> Table:
    """Every label with its scores."""
    rows: list[list[Cell]] = []
    for name, label in found.labels.items():
        scores = found.scores.latents.get(name)
        accuracies = [scores[test].own.accuracy if scores else None for test in TESTS]
        rows.append([str(name), found.thirds.get(name), label.category, label.explanation, *accuracies])
    return Table(
        title="Labels",
        columns=("latent", "NRN", "category", "explanation", *TESTS),
        rows=rows,
        note="Scores are balanced accuracies with 95 % intervals over documents.",
        detail=True,
    )
