"""The page: which latents lead to the words, what their removal does, and how well gradients predict it."""

from typing import Any

from toolkit.experiments.crosscoder_attribution import CrosscoderAttributionConfig
from toolkit.experiments.crosscoder_attribution.study import CONTROLS, METHODS, LatentPaths, PathStudy
from toolkit.experiments.run import Run
from toolkit.formatting import percent
from toolkit.latents.logit_lens import logit_lens
from toolkit.reports.figures import estimates_by_name
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table
from toolkit.reports.verdicts import verdict_results, verdict_table
from toolkit.statistics.estimates import Estimate, mean
from toolkit.statistics.verdicts import Claim, Margin

LEAST_FALL = 0.5
"""Logits by which a word must fall without the chosen latents, beyond the best draw of each control."""
LEAST_SLOPE = 0.5
"""Of measured on predicted falls: below it a gradient is wrong by more than a factor of two."""


def page(settings: CrosscoderAttributionConfig, run: Run, study: PathStudy) -> Findings:
    """The page's content."""
    claimed, n = claims(study), len(study.documents)
    words = f"{study.category} words"
    return Findings(
        name="crosscoder_attribution",
        title=f"What comes before {words}",
        question=f"Which latents raise the logit of {words} in the {study.model} model, and do gradients tell which?",
        facts=run.facts() | protocol(settings, study),
        headline=[
            Headline(
                name=f"fall without the {study.own.chosen} chosen latents",
                value=study.estimate(lambda one: one.together),
                n=n,
                unit=f"positions of {len(study.documents.unique())} documents",
                note="logits less the mean of all; "
                + "; ".join(f"best of {name} {best(study, name).value:.2f}" for name in CONTROLS),
            ),
            *(
                Headline(
                    name=f"slope of measured on predicted, {method}",
                    value=study.agreement(method).slope,
                    n=study.agreement(method).n,
                    unit="latents × positions",
                    note=f"r {study.agreement(method).r.value:.2f}; 1 is a right prediction",
                )
                for method in METHODS
            ),
        ],
        tables=[
            verdict_table(claimed),
            _controls_table(study),
            _agreement_table(study),
            *(_latents_table(run, study, seed) for seed in study.seeds),
        ],
        charts=[_chart(study)],
        claims=claimed,
        results=_results(study) | {"verdicts": verdict_results(claimed), "settings": protocol(settings, study)},
    )


def claims(study: PathStudy) -> list[Claim]:
    """Written before any measurement: the chosen latents raise the words, and each method predicts ablation."""
    beyond = tuple(
        Margin(
            over=f"best of {len(study.own.controls[name])} draws of {name}",
            difference=study.estimate(lambda one, name=name: one.together - one.best(name)),
            least=LEAST_FALL,
        )
        for name in CONTROLS
    )
    raises = Claim(
        name=f"the chosen latents raise {study.category} words",
        effect=study.estimate(lambda one: one.together),
        margins=beyond,
        n=len(study.documents),
    )
    return [raises, *(_predicts(study, method) for method in METHODS)]


def _predicts(study: PathStudy, method: str) -> Claim:
    found = study.agreement(method)
    margin = Margin(over="a slope of 0", difference=found.slope, least=LEAST_SLOPE)
    return Claim(name=f"{method} predicts ablation", effect=found.slope, margins=(margin,), n=found.n)


def best(study: PathStudy, control: str) -> Estimate:
    """The mean fall in the best draw of a control of each crosscoder."""
    return study.estimate(lambda one: one.best(control))


def average(study: PathStudy, control: str) -> Estimate:
    """The mean fall over the draws of a control."""
    return study.estimate(lambda one: one.controls[control].mean(dim=0))


def protocol(settings: CrosscoderAttributionConfig, study: PathStudy) -> dict[str, str]:
    """How it was measured, in words."""
    low, high = settings.undecided
    return {
        "words": f"{study.category}, {study.model} probability {low:g} to {high:g}; {study.found} positions found",
        "effect": "on the word's logit less the mean of all logits, summed over the positions of a latent:"
        f" {settings.positions}; the crosscoder's error stays",
        "chosen by": "the largest mean of gradient × code on every other document; tested on the rest",
        "crosscoders": f"seeds {', '.join(map(str, study.seeds))}, on the same words",
        "seed": str(settings.seed),
    }


def _controls_table(study: PathStudy) -> Table:
    controls: list[list[Cell]] = [[name, average(study, name), best(study, name)] for name in CONTROLS]
    return Table(
        title=f"Fall of the word's logit without {study.own.chosen} latents together",
        columns=("taken out", "mean", "best draw"),
        rows=[["chosen", study.estimate(lambda one: one.together), None], *controls],
        note=f"n = {len(study.documents)} positions of {len(study.documents.unique())} documents,"
        f" {len(study.seeds)} crosscoders; intervals contain how documents and crosscoders vary. Random latents fire"
        " before such words too; random directions are as long as what the chosen latents add.",
    )


def _agreement_table(study: PathStudy) -> Table:
    rows: list[list[Cell]] = []
    for method in METHODS:
        for name, shuffled in ((method, False), (f"{method}, of another latent", True)):
            found = study.agreement(method, shuffled=shuffled)
            rows.append([name, found.slope, found.r, found.n])
    return Table(
        title="Predicted and measured falls, one latent at a time",
        columns=("predicted by", "slope", "r", "n"),
        rows=rows,
        note=f"The {study.own.chosen} chosen latents of each crosscoder and as many random ones, at every position."
        " slope: of the line through 0. Intervals leave out one document at a time. Along the path of its code a"
        " latent's effect comes to what ablation takes away, the more points are taken: this row checks the gradients."
        " Of another latent: the control, each latent with its neighbour's prediction.",
    )


def _latents_table(run: Run, study: PathStudy, seed: int) -> Table:
    one = study.seeds[seed]
    lens = logit_lens(run.models, run.crosscoders[seed], one.latents, tokens=4)[study.model]
    rows: list[list[Cell]] = []
    for number, latent in enumerate(one.latents):
        estimates = [mean(values[number], study.documents) for values in (*one.predicted.values(), one.measured)]
        kind = "chosen" if number < one.chosen else "random"
        promoted = " ".join(repr(token) for token, _ in lens.tokens(latent))
        rows.append(
            [str(latent), kind, *estimates, percent(float(one.fires[number])), float(one.nrn[number]), promoted]
        )
    return Table(
        title=f"Latents of the crosscoder of seed {seed}",
        columns=("latent", "kind", *METHODS, "measured", "fires", "NRN", "promotes"),
        rows=rows,
        note="Means over positions, with intervals over documents for this crosscoder alone. measured: how far the"
        " word's logit falls without the latent. fires: before which share of the words.",
        detail=seed != next(iter(study.seeds)),
    )


def _chart(study: PathStudy) -> Chart:
    lines = {"chosen": study.estimate(lambda one: one.together)}
    lines |= {f"chosen, seed {seed}": mean(one.together, study.documents) for seed, one in study.seeds.items()} | {
        name: study.estimate(lambda one, name=name: one.controls[name].mean(dim=0)) for name in CONTROLS
    }
    title = f"Fall of {study.category} words"
    return Chart(
        name="falls",
        figure=estimates_by_name(lines, title, "logits"),
        caption=f"Without the chosen latents, as many random ones, and vectors as long; {study.model} model.",
    )


def _results(study: PathStudy) -> dict[str, Any]:
    return {
        "n": len(study.documents),
        "documents": len(study.documents.unique()),
        "found": study.found,
        "fall": study.estimate(lambda one: one.together),
        "controls": {
            name: {
                "mean": study.estimate(lambda one, name=name: one.controls[name].mean(dim=0)),
                "best": best(study, name),
            }
            for name in CONTROLS
        },
        "interventions": {
            method: {"slope": found.slope, "r": found.r, "n": found.n}
            for method in METHODS
            for found in [study.agreement(method)]
        },
        "latents": {str(seed): _of_seed(study, one) for seed, one in study.seeds.items()},
    }


def _of_seed(study: PathStudy, one: LatentPaths) -> list[dict[str, Any]]:
    columns = {**one.predicted, "measured": one.measured}
    return [
        {"latent": latent, "chosen": number < one.chosen, "nrn": float(one.nrn[number])}
        | {name: mean(values[number], study.documents) for name, values in columns.items()}
        for number, latent in enumerate(one.latents)
    ]
