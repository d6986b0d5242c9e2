"""What latents mean, how well that predicts where they fire, and whether one model's latents are for reasoning."""

from pathlib import Path
from typing import Any

from toolkit.annotation.label_files import LabelFile, write_labels
from toolkit.annotation.neuronpedia import neuronpedia_lines
from toolkit.annotation.trials import TESTS
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.latent_annotation import LABEL_FILES, LABELS, NEURONPEDIA, LatentAnnotationConfig
from toolkit.experiments.latent_annotation.browser import browser_facts, entries
from toolkit.experiments.latent_annotation.claims import claims
from toolkit.experiments.latent_annotation.results import Annotated
from toolkit.experiments.latent_annotation.tables import (
    agreement,
    agreement_table,
    behaviour_table,
    category_table,
    label_table,
    published_table,
    score_table,
)
from toolkit.experiments.run import Run
from toolkit.outputs import OutputFolder
from toolkit.reports.figures import estimates_by_name
from toolkit.reports.findings import Chart, Findings, Headline, left_out_tables
from toolkit.reports.latent_browser import write_browser
from toolkit.reports.verdicts import verdict_results, verdict_table


def page(settings: LatentAnnotationConfig, opened: Run | AdapterRun, found: Annotated) -> Findings:
    """Labels beside their scores and controls, and categories by third of the NRN scale.

    Writes the labels, records of Neuronpedia and the browser into the settings' folder.
    """
    browser = write_browser(settings.output.out, entries(found), browser_facts(found))
    _write_labels(settings.output.out, opened, found)
    claimed = claims(found)
    reasoning = found.enrichment.reasoning
    return Findings(
        name="latent_annotation",
        title=f"What latents mean, by {found.annotator}",
        question="What does each latent stand for, and does that tell where it fires on text that nobody explained?",
        facts=opened.facts() | _facts(found) | {"browser": str(browser)},
        headline=_headline(found),
        tables=[
            *([verdict_table(claimed)] if claimed else []),
            score_table(found),
            category_table(found),
            *([behaviour_table(found)] if found.behaviours else []),
            *([agreement_table(found)] if found.compared else []),
            *([published_table()] if reasoning else []),
            *left_out_tables("latent", {str(name): why for name, why in found.unscored.items()}),
            label_table(found),
        ],
        charts=[
            Chart(
                name="reasoning",
                figure=estimates_by_name(reasoning, "Labels of reasoning, by third of the NRN scale", "share"),
                caption="Share of labelled latents whose category is of reasoning, with 95 % intervals over latents.",
            )
        ]
        if reasoning
        else [],
        claims=claimed,
        results=_results(found) | {"verdicts": verdict_results(claimed)},
    )


def _facts(found: Annotated) -> dict[str, str]:
    gathered, usage = found.gathered, found.usage
    asked = {}
    if usage:
        asked["server"] = (
            f"{usage.requests:,} replies, {usage.kept:,} more kept from before; {usage.tokens_in:,} tokens of prompts,"
            f" {usage.tokens_out:,} of replies"
        )
    return {
        "latents": f"{len(found.labels):,} labelled, {found.chosen.why}; {len(found.unscored):,} unscored",
        "read": f"{gathered.tokens:,} tokens of {gathered.documents:,} documents",
        **asked,
    }


def _headline(found: Annotated) -> list[Headline]:
    rows = [
        Headline(name=test, value=each.own, n=each.n, unit="latents", note="balanced accuracy; .5 is chance")
        for test, each in found.scores.comparisons.items()
        if each.n
    ]
    rows += [
        Headline(name=f"reasoning, {third}", value=share, n=found.enrichment.counts[third].total(), unit="latents")
        for third, share in found.enrichment.reasoning.items()
    ]
    if found.behaviours:
        (blind, by_chance), (right, _) = (found.named_right(blind=each) for each in (True, False))
        seen = f"their labels know spans of other documents; by text alone {blind} are, {by_chance:.1f} by chance"
        unit = "behaviours' best latents"
        rows.append(Headline(name="called what they are", value=right, n=len(found.behaviours), unit=unit, note=seen))
    return rows


def _write_labels(folder: Path, opened: Run | AdapterRun, found: Annotated) -> None:
    """Write the labels for `--compare`, and for Neuronpedia."""
    dictionary = found.dictionary
    places = {dictionary.place(dictionary.number(name)): label for name, label in found.labels.items()}
    labels = LabelFile(annotator=found.annotator, labels={str(name): label for name, label in found.labels.items()})
    kind = "crosscoder" if isinstance(opened, Run) else "adapter"
    with OutputFolder(folder, (LABEL_FILES,)).writing(LABELS, NEURONPEDIA):
        write_labels(folder / LABELS, dictionary.hash, labels)
        lines = neuronpedia_lines(places, model=dictionary.model, dictionary=kind, annotator=found.annotator)
        (folder / NEURONPEDIA).write_text("".join(lines), encoding="utf-8")


def _results(found: Annotated) -> dict[str, Any]:
    compared = found.scores.comparisons
    return {
        "annotator": found.annotator,
        "labels": {str(name): _label(found, name) for name in found.labels},
        "scores": {test: compared[test].own for test in TESTS},
        "controls": {
            "random_explanation": {test: compared[test].random for test in TESTS},
            "shuffled": {test: compared[test].shuffled for test in TESTS},
        },
        "failures": {test: compared[test].failed for test in TESTS},
        "failures_by_reason": {test: dict(found.failures(test)) for test in TESTS},
        "unscored": {str(name): why for name, why in found.unscored.items()},
        "enrichment": {
            third: {
                "n": counts.total(),
                "reasoning": found.enrichment.reasoning[third],
                "reasoning_by_text_alone": found.blind_enrichment.reasoning[third],
                "categories": {category: found.enrichment.share(third, category) for category in counts},
            }
            for third, counts in found.enrichment.counts.items()
        },
        "behaviours": _behaviours(found),
        "agreement": {
            other.annotator: dict(zip(("kappa", "same", "n"), agreement(found, other), strict=True))
            for other in found.compared
        },
    }


def _label(found: Annotated, name: Any) -> dict[str, Any]:
    label, scores = found.labels[name], found.scores.latents.get(name)
    return {
        "category": label.category,
        "explanation": label.explanation,
        **{test: scores[test].own.accuracy if scores else None for test in TESTS},
        "third": found.thirds.get(name),
    }


def _behaviours(found: Annotated) -> dict[str, Any]:
    """How many of the best latents are called what they are, by text alone and by their labels, and which."""
    counts = {
        name: dict(zip(("right", "by_chance"), found.named_right(blind=blind), strict=True))
        for name, blind in (("by_text_alone", True), ("by_label", False))
    }
    best = {
        each.label: {
            "latent": each.latent,
            "auroc": each.auroc,
            "category": each.category,
            "by_text_alone": found.blind.get(each.latent),
        }
        for each in found.behaviours
    }
    return {**counts, "best": best} if best else {}
