"""The ablation page: the words' logits without their latents, beside both controls and other words."""

from typing import Any

import numpy as np
from torch import Tensor

from toolkit.experiments.ablation import AblationConfig, AblationSettings
from toolkit.experiments.ablation.study import ARMS, AblationStudy, CategoryAblation
from toolkit.experiments.run import Run
from toolkit.interventions.targets import OTHER, Targets
from toolkit.latents.categories import Category
from toolkit.latents.selection import specific_latents
from toolkit.reports.figures import effect_by_fraction, effect_matrix, logit_change_histogram
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table, left_out_tables
from toolkit.reports.formatting import percent
from toolkit.statistics import Estimate, mean

MODELS = ("base", "distilled")
BARE = {
    "distilled": ("chosen", 1),
    "base": ("chosen", 0),
    "control_distilled": ("matched", 1),
    "random_distilled": ("random", 1),
}
"""The numbers of a category that results name by themselves: arm, and place of the model."""


def ablation_results(study: AblationStudy, settings: AblationSettings) -> dict[str, Any]:
    """Every mean with its interval: the reference share by category, then all shares."""
    return {
        "ablation": {each.category.name: _category_results(each, settings) for each in study.categories},
        "off_target": {
            f"{edited} on {measured}": {
                model: _off_target(study, edited, measured, index) for index, model in enumerate(MODELS)
            }
            for edited, measured in study.off_target
        },
        "left_out": study.left_out,
    }


def _category_results(each: CategoryAblation, settings: AblationSettings) -> dict[str, Any]:
    share = settings.reference
    intervals = {name: _estimate(each, share, arm, model) for name, (arm, model) in BARE.items()}
    return {
        **{name: estimate.value for name, estimate in intervals.items()},
        "intervals": intervals,
        "share": share,
        "n": len(each.targets.prefixes),
        "n_documents": _n_documents(each.targets),
        "found": each.targets.found,
        "latents": each.latents[share],
        "matched_code": each.matched_code[share],
        "distilled_minus_control": _difference(each, share, "matched"),
        "by_share": {
            f"{s:g}": {arm: {m: _estimate(each, s, arm, i) for i, m in enumerate(MODELS)} for arm in ARMS}
            for s in settings.shares
        },
    }


def page(config: AblationConfig, run: Run, study: AblationStudy) -> Findings:
    """The page's content."""
    settings = config.settings()
    return Findings(
        name="ablation",
        title="Ablation: what a category's latents do for its words",
        question=(
            "Latents that fire where a category's word is predicted are taken out of the residual stream, in either"
            " model. How far does the word's logit fall, and how far for as many other latents?"
        ),
        facts=run.facts() | _protocol(settings),
        headline=[_headline(study, each, settings.reference) for each in study.categories],
        tables=[
            _main_table(study, settings),
            _measures_table(study, settings.reference),
            _share_table(study, settings),
            _matrix_table(study),
            *([_specific_table(study)] if len(study.categories) > 1 else []),
            _words_table(study),
            *left_out_tables("category", study.left_out),
        ],
        charts=_charts(study, settings),
        results=ablation_results(study, settings) | {"settings": _protocol(settings)},
    )


def _protocol(settings: AblationSettings) -> dict[str, str]:
    low, high = settings.undecided
    what = "the reconstruction, against the unablated one" if settings.method.spliced else "the stream, error kept"
    return {
        "chosen by": f"{settings.select} on the {settings.place} position, NRN above {settings.min_nrn:g}",
        "taken out": f"{settings.method.positions} positions, of {what}",
        "words": "all occurrences" if (low, high) == (0, 1) else f"distilled probability {low:g} to {high:g}",
        "seed": str(settings.seed),
    }


def _estimate(each: CategoryAblation, share: float, arm: str, model: int, measure: str = "logit") -> Estimate:
    return mean(getattr(each.effects[share, arm], measure)[model], each.targets.documents)


def _difference(each: CategoryAblation, share: float, control: str) -> Estimate:
    """Chosen minus control in the distilled model, position by position."""
    chosen, other = (each.effects[share, arm].logit[1] for arm in ("chosen", control))
    return mean(chosen - other, each.targets.documents)


def _off_target(study: AblationStudy, edited: str, measured: str, model: int = 1) -> Estimate:
    return mean(study.off_target[edited, measured].logit[model], study.words[measured].documents)


def _n_documents(targets: Targets) -> int:
    return len(targets.documents.unique())


def _headline(study: AblationStudy, each: CategoryAblation, share: float) -> Headline:
    base, control = _estimate(each, share, "chosen", 0), _estimate(each, share, "matched", 1)
    name = each.category.name
    elsewhere = [_off_target(study, name, on).value for edited, on in study.off_target if edited == name != on != OTHER]
    off_target = f"; other categories' words {min(elsewhere):.2f} at the most" if elsewhere else ""
    return Headline(
        name=f"{name}, distilled",
        value=_estimate(each, share, "chosen", 1),
        n=len(each.targets.prefixes),
        unit=f"positions of {_n_documents(each.targets)} documents",
        note=(
            f"logits, {len(each.latents[share])} latents (top {percent(share)}); base {base.value:.2f}; distilled"
            f" without the matched control {control.value:.2f}{off_target}"
        ),
    )


def _fewer(study: AblationStudy, asked: int) -> str:
    """Which categories have fewer positions than were asked for, so that their intervals are wider."""
    found = ((each.category.name, each.targets.found) for each in study.categories)
    few = [f"{name}: {n} positions found of the {asked} asked for" for name, n in found if n < asked]
    return f" {'; '.join(few)}; all are used. Raise --tokens to find more." if few else ""


def _main_table(study: AblationStudy, settings: AblationSettings) -> Table:
    share, asked = settings.reference, settings.targets
    rows: list[list[Cell]] = [
        [
            each.category.name,
            len(each.latents[share]),
            _estimate(each, share, "chosen", 1),
            _estimate(each, share, "chosen", 0),
            _estimate(each, share, "matched", 1),
            _estimate(each, share, "random", 1),
            _difference(each, share, "matched"),
            each.matched_code[share],
            len(each.targets.prefixes),
            _n_documents(each.targets),
            each.targets.found,
        ]
        for each in study.categories
    ]
    return Table(
        title=f"Change of the word's logit, top {percent(share)} of latents",
        columns=(
            "category", "latents", "distilled", "base", "matched", "random", "chosen − matched", "match", "n",
            "documents", "found",
        ),
        rows=rows,
        note=(
            "Edited minus unedited, with 95 % bootstrap intervals that draw whole documents. matched and random: as"
            " many other alive latents, in the distilled model; matched ones fire about as strongly at these positions"
            " (match: their mean code over the chosen ones'). Controls are means over"
            f" {settings.control_draws} draws of latents; their intervals do not count which latents were drawn."
            f" n positions, drawn of those found.{_fewer(study, asked)}"
        ),
    )  # fmt: skip


def _measures_table(study: AblationStudy, share: float) -> Table:
    measures = {"log p (nats)": "log_probability", "rank": "rank"}
    arms = [(title, measure, arm) for title, measure in measures.items() for arm in ("chosen", "matched")]
    return Table(
        title=f"Change of the word's log probability and rank, distilled, top {percent(share)} of latents",
        columns=("category", *(f"{title}, {arm}" for title, _, arm in arms)),
        rows=[
            [each.category.name, *(_estimate(each, share, arm, 1, measure) for _, measure, arm in arms)]
            for each in study.categories
        ],
        note="A positive change of rank is further from the top of the vocabulary.",
    )


def _share_table(study: AblationStudy, settings: AblationSettings) -> Table:
    rows: list[list[Cell]] = [
        [
            f"{each.category.name}, {percent(share)}",
            len(each.latents[share]),
            *(_estimate(each, share, arm, model) for arm in ("chosen", "matched", "random") for model in (1, 0)),
        ]
        for each in study.categories
        for share in settings.shares
    ]
    columns = [f"{arm}, {model}" for arm in ("chosen", "matched", "random") for model in ("distilled", "base")]
    return Table(
        title="By share of latents taken out",
        columns=("category, share", "latents", *columns),
        rows=rows,
        note="Change of logit. Where fewer latents are eligible than a share asks for, all of them are taken.",
        detail=True,
    )


def _matrix_table(study: AblationStudy) -> Table:
    names = [each.category.name for each in study.categories]
    measured = list(study.words)
    return Table(
        title="Off target: the same edit on other words, distilled",
        columns=("latents of", *(f"on {name}" for name in measured)),
        rows=[[edited, *(_off_target(study, edited, name) for name in measured)] for edited in names],
        note=(
            "Change of logit. Other words: positions of no category, drawn under the same rule of probability. Far from"
            " the diagonal an effect should be small if latents are specific to their category."
        ),
    )


def _specific_table(study: AblationStudy) -> Table:
    found = specific_latents(study.counts)
    return Table(
        title="Latents specific to a category",
        columns=("category", "counted on", "specific", "best", "lift", "other lift", "fires on", "NRN"),
        rows=[
            [
                s.category,
                s.place,
                s.n,
                f"#{s.latent}",
                s.lift,
                s.other_lift,
                percent(s.rate),
                float(study.nrn[s.latent]),
            ]
            for s in found
        ],
        note=(
            "Specific: lift for its own category at least 3 times that for any other, firing on at least 5 % of the"
            " category's positions. best: the one that fires on most of them. Categories without one are not listed."
        ),
    )


def _words_table(study: AblationStudy) -> Table:
    return Table(
        title="Words",
        columns=("category", "tokens (ids)", "no single token"),
        rows=[
            [c.name, ", ".join(f"{t!r} ({i})" for t, i in zip(c.tokens, c.token_ids, strict=True)), _left_out(c)]
            for c in (each.category for each in study.categories)
        ],
        note="Forms that are single tokens of this tokenizer, over leading space and capital or small letter.",
        detail=True,
    )


def _left_out(category: Category) -> str:
    """The lexicon's words of which no form is a single token."""
    tokens = {token.strip().casefold() for token in category.tokens}
    return ", ".join(word for word in category.words if word.casefold() not in tokens) or "none"


def _charts(study: AblationStudy, settings: AblationSettings) -> list[Chart]:
    share = settings.reference
    charts = []
    for each in study.categories:
        name = each.category.name
        chosen, matched = (each.effects[share, arm].logit for arm in ("chosen", "matched"))
        histogram = logit_change_histogram(_array(chosen[0]), _array(chosen[1]), _array(matched[1]), name)
        by_share = {
            model: {arm: [_estimate(each, s, arm, index) for s in settings.shares] for arm in ARMS}
            for index, model in enumerate(MODELS)
        }
        caption = (
            f"{name}: change of the word's logit, top {percent(share)} of latents; the control is the matched one."
        )
        charts.append(Chart(name=f"histogram_{name}", figure=histogram, caption=caption))
        caption = f"{name}: mean change by share of latents taken out, bands 95 % intervals."
        charts.append(
            Chart(name=f"by_share_{name}", figure=effect_by_fraction(settings.shares, by_share, name), caption=caption)
        )
    names = [each.category.name for each in study.categories]
    matrix = np.array([[_off_target(study, edited, on).value for on in study.words] for edited in names])
    figure = effect_matrix(matrix, names, list(study.words), "Change of logit, distilled")
    charts.append(Chart(name="off_target", figure=figure, caption="Rows: whose latents are out; columns: whose words."))
    return charts


def _array(values: Tensor) -> np.ndarray:
    return values.numpy()
