"""The findings on word geometry: tables, the paper's figure 4, and every number as JSON."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from toolkit.experiments.control import control_files
from toolkit.experiments.reproduction.page import load_published
from toolkit.experiments.word_geometry import WordGeometryConfig
from toolkit.experiments.word_geometry.claims import SHOWN_DIMS, changes_the_gap, claims, gap_changes, shares_a_step
from toolkit.experiments.word_geometry.measure import DIMS, FEWEST_PAIRS, ModelGeometry, WordGeometry
from toolkit.geometry.parallelogram import ParallelogramLoss
from toolkit.models.model_set import ModelSet
from toolkit.reports.figures import LossQuantiles, cdf_curves
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table, left_out_tables
from toolkit.reports.verdicts import verdict_results, verdict_table
from toolkit.statistics.estimates import Estimate, interval
from toolkit.statistics.verdicts import judge

Classes = Mapping[str, Mapping[str, ModelGeometry]]


def page(settings: WordGeometryConfig, opened: ModelSet, found: WordGeometry) -> Findings:
    """Gap to shuffled pairs by class and model, the losses behind it, and what distillation changed."""
    return Findings(
        name="word_geometry",
        title=f"Word geometry: {' → '.join(opened.origins)}",
        question="Do word pairs of one class share a step in activation space, and does distillation change that?",
        facts=_facts(settings, opened, found),
        headline=_headline(found),
        claims=claims(found),
        tables=[
            verdict_table(claims(found)),
            _gap_table(found),
            *(_loss_table(found.classes, model) for model in found.models),
            _dims_table(found.classes),
            *_published_table(settings, found),
            _words_table(found),
            *left_out_tables("class", found.left_out),
        ],
        charts=[_chart(found)],
        results=_results(settings, found),
        provenance={"data": found.origin(), "sha256": control_files(settings.models, settings.where, opened)},
    )


def _facts(settings: WordGeometryConfig, opened: ModelSet, found: WordGeometry) -> dict[str, str]:
    before = "nothing: the word is at position 0" if found.prefix is None else repr(found.prefix)
    return {
        "models": " → ".join(opened.origins),
        "site": f"input of layer {opened.layers[0]} of {opened.n_layers}, d_model {opened.d_model}",
        "before a word": before + (", and a space" if settings.spaced else ""),
        "components": "of all classes' words, taken as given by intervals"
        if settings.shared_components
        else "of each class's own words",
        "seed": str(settings.seed),
    }


def _headline(found: WordGeometry) -> list[Headline]:
    """Of how many classes each claim shows."""
    statements = [shares_a_step(model) for model in found.models[:2]]
    statements += [changes_the_gap(narrower=narrower) for narrower in (False, True)]
    shown = {verdict.claim.name for verdict in judge(claims(found)) if verdict.shows}
    rows = [
        Headline(
            name=statement,
            value=sum(f"{name}: {statement}" in shown for name in found.classes),
            n=len(found.classes),
            unit="classes",
        )
        for statement in statements
    ]
    note = f"classes of which this shows in {SHOWN_DIMS} dimensions, after adjustment over all claims"
    return [replace(rows[0], note=note), *rows[1:]]


def _gap_table(found: WordGeometry) -> Table:
    reference, examined, *yardsticks = found.models
    rows: list[list[Cell]] = [
        [
            name,
            *(geometry.by_dims[SHOWN_DIMS].gap_estimate for geometry in models.values()),
            *gap_changes(found, name).values(),
        ]
        for name, models in found.classes.items()
    ]
    return Table(
        title=f"Gap: shuffled pairs' loss − true pairs' loss, {SHOWN_DIMS} dimensions",
        columns=("class", *found.models, *(f"{examined} − {other}" for other in (reference, *yardsticks))),
        rows=rows,
        note="Above 0 the pairs of a class share a step. 95 % intervals over word pairs: each is left out in turn,"
        " the same in every model, and the components are fitted anew. control: trained on from base without"
        " distillation.",
    )


def _loss_table(classes: Classes, model: str) -> Table:
    rows: list[list[Cell]] = [
        [
            name,
            loss.loss_estimate,
            loss.median,
            Estimate(loss.shuffled, *interval(loss.shuffled_means)),
            loss.ratio,
        ]
        for name, models in classes.items()
        for loss in [models[model].by_dims[SHOWN_DIMS]]
    ]
    return Table(
        title=f"Parallelogram loss in the {model} model, {SHOWN_DIMS} dimensions",
        columns=("class", "mean", "median", "shuffled", "ratio"),
        rows=rows,
        note="mean: over all pairs of pairs, with its 95 % interval. shuffled: mean and central 95 % of 100 shuffles"
        " in which no word keeps its partner. ratio: mean over shuffled.",
    )


def _dims_table(classes: Classes) -> Table:
    rows: list[list[Cell]] = [
        [
            f"{name}, {model}",
            *(loss.ratio for loss in geometry.by_dims.values()),
            geometry.variance_explained[SHOWN_DIMS],
            geometry.embedded.ratio,
        ]
        for name, models in classes.items()
        for model, geometry in models.items()
    ]
    return Table(
        title="Loss over that of shuffled pairs, by dimensions",
        columns=("class, model", *(f"{dims}D" for dims in DIMS), "kept", "embeddings"),
        rows=rows,
        note=f"1 is chance. kept: share of the words' variance in {SHOWN_DIMS} dimensions. embeddings: the loss of"
        " Baek, Liu, Tyagi & Tegmark 2025, ‖a − b − c + d‖² over the mean squared norm, on input embeddings in"
        f" {SHOWN_DIMS} dimensions.",
    )


def _published_table(settings: WordGeometryConfig, found: WordGeometry) -> list[Table]:
    reference, examined, *_ = found.models
    shown = (reference, examined)
    published = load_published("parallelogram")
    theirs = published["pairs"].get(settings.models.pair, {})
    rows: list[list[Cell]] = [
        [
            name,
            *(models[model].by_dims[SHOWN_DIMS].loss for model in shown),
            models[reference].by_dims[SHOWN_DIMS].n,
            *(theirs[name][model][str(SHOWN_DIMS)] for model in shown),
            theirs[name]["n_quadruples"],
        ]
        for name, models in found.classes.items()
        if {*shown} <= theirs.get(name, {}).keys()
    ]
    if not rows:
        return []
    table = Table(
        title=f"Beside the published mean losses, {SHOWN_DIMS} dimensions",
        columns=("class", *shown, "n", *(f"published {model}" for model in shown), "published n"),
        rows=rows,
        note=f"{published['source']}. Theirs are words at position 0, as --paper reads them; other n, other words.",
    )
    return [table]


def _words_table(found: WordGeometry) -> Table:
    rows: list[list[Cell]] = [
        [
            words.name,
            words.n_given,
            len(words.pairs),
            _n_quadruples(found.classes[words.name]) if words.name in found.classes else "too few",
        ]
        for words in found.given
    ]
    return Table(
        title="Word pairs",
        columns=("class", "given", "single tokens", "pairs of pairs"),
        rows=rows,
        note=f"Both words must be one token of the distilled model's tokenizer, and {FEWEST_PAIRS} pairs of a class.",
    )


def _n_quadruples(of_class: Mapping[str, ModelGeometry]) -> int:
    return next(iter(of_class.values())).by_dims[SHOWN_DIMS].n


def _chart(found: WordGeometry) -> Chart:
    shown = found.models[:2]
    quantiles = {
        name: {
            model: LossQuantiles(loss=loss.quantiles.numpy(), null=loss.shuffled_quantiles.numpy())
            for model in shown
            for loss in [models[model].by_dims[SHOWN_DIMS]]
        }
        for name, models in found.classes.items()
    }
    return Chart(
        name="cdf",
        figure=cdf_curves(quantiles),
        caption=f"Loss of every two pairs of a class in {SHOWN_DIMS} dimensions; dashed: with second words shuffled."
        " A curve left of its dashed one shows a shared step. Baek & Tegmark 2025, figure 4.",
    )


def _results(settings: WordGeometryConfig, found: WordGeometry) -> dict[str, Any]:
    return {
        "words": {words.name: {"given": words.n_given, "pairs": len(words.pairs)} for words in found.given},
        "prefix": found.prefix,
        "spaced": settings.spaced,
        "shared_components": settings.shared_components,
        "left_out": dict(found.left_out),
        "verdicts": verdict_results(claims(found)),
        "classes": {
            name: {
                "models": {model: _geometry_results(geometry) for model, geometry in models.items()},
                "gap_change": gap_changes(found, name),
            }
            for name, models in found.classes.items()
        },
    }


def _geometry_results(geometry: ModelGeometry) -> dict[str, Any]:
    dims = {
        str(dims): _loss_results(loss) | {"variance_explained": geometry.variance_explained[dims]}
        for dims, loss in geometry.by_dims.items()
    }
    shown = geometry.by_dims[SHOWN_DIMS]
    quantiles = {
        name: [round(value, 4) for value in values.tolist()]
        for name, values in (("quantiles", shown.quantiles), ("shuffled_quantiles", shown.shuffled_quantiles))
    }
    return {"dims": dims, "embeddings": _loss_results(geometry.embedded)} | quantiles


def _loss_results(loss: ParallelogramLoss) -> dict[str, Any]:
    estimates: dict[str, Any] = {
        "mean": loss.loss_estimate,
        "shuffled": Estimate(loss.shuffled, *interval(loss.shuffled_means)),
        "gap": loss.gap_estimate,
        "ratio": loss.ratio_estimate,
    }
    return estimates | {"median": loss.median, "n_quadruples": loss.n, "p": loss.p_value}
