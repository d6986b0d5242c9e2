"""The ablation page: the words' logits without their latents, beside both controls and other words."""

from typing import Any

import numpy as np

from toolkit.experiments.ablation import GIVEN, AblationConfig, AblationSettings
from toolkit.experiments.ablation.measure import ARMS, AblationStudy, CategoryAblation
from toolkit.experiments.run import Run
from toolkit.formatting import percent
from toolkit.interventions.ablation import OTHER, Targets
from toolkit.latents.categories import Category
from toolkit.latents.selection import specific_latents
from toolkit.reports.figures import effect_by_fraction, effect_matrix, logit_change_histogram
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table, left_out_tables
from toolkit.statistics.estimates import Estimate, mean


def ablation_results(study: AblationStudy, settings: AblationSettings) -> dict[str, Any]:
    """Every mean with its interval: the reference share by category, then all shares."""
    return {
        "ablation": {each.category.name: _category_results(study, each, settings) for each in study.categories},
        "off_target": {
            f"{edited} on {measured}": {model: _off_target(study, edited, measured, model) for model in study.models}
            for edited, measured in study.off_target
        },
        "left_out": study.left_out,
    }


def _category_results(study: AblationStudy, each: CategoryAblation, settings: AblationSettings) -> dict[str, Any]:
    """By themselves stand the models' falls at the reference share, and the last model's without either control."""
    share, last = settings.reference_name, study.last
    intervals = {
        **{model: _estimate(each, share, "chosen", model) for model in _last_first(study)},
        f"control_{last}": _estimate(each, share, "matched", last),
        f"random_{last}": _estimate(each, share, "random", last),
    }
    return {
        **{name: estimate.value for name, estimate in intervals.items()},
        "intervals": intervals,
        "share": None if share == GIVEN else settings.reference,
        "n": len(each.targets.prefixes),
        "n_documents": _n_documents(each.targets),
        "found": each.targets.found,
        "latents": each.latents[share],
        "matched_code": each.matched_code[share],
        f"{last}_minus_control": _difference(study, each, share),
        "by_share": {
            share: {arm: {model: _estimate(each, share, arm, model) for model in study.models} for arm in ARMS}
            for share in each.latents
        },
    }


def _last_first(study: AblationStudy) -> list[str]:
    """The models as tables name them."""
    return list(reversed(study.models))


def page(settings: AblationConfig, run: Run, study: AblationStudy) -> Findings:
    """The page's content."""
    return Findings(
        name="ablation",
        title="Ablation: what a category's latents do for its words",
        question=(
            "Latents that fire where a category's word is predicted are taken out of the residual stream, in either"
            " model. How far does the word's logit fall, and how far for as many other latents?"
        ),
        facts=run.facts() | _protocol(settings),
        headline=[_headline(study, each, settings.reference_name) for each in study.categories],
        tables=[
            _main_table(study, settings),
            _measures_table(study, settings.reference_name),
            _share_table(study),
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
    what = "the reconstruction, against the unablated one" if settings.paper else "the stream, error kept"
    return {
        "chosen by": "name"
        if settings.latents
        else f"{settings.select} on the {settings.place} position, NRN above {settings.min_nrn:g}",
        "taken out": f"{settings.positions} positions, of {what}",
        "words": "all occurrences" if (low, high) == (0, 1) else f"distilled probability {low:g} to {high:g}",
        "seed": str(settings.seed),
    }


def _estimate(each: CategoryAblation, share: str, arm: str, model: str, measure: str = "logit") -> Estimate:
    return mean(getattr(each[share, arm][model], measure), each.targets.documents)


def _difference(study: AblationStudy, each: CategoryAblation, share: str) -> Estimate:
    """Chosen minus matched in the last model, position by position."""
    chosen, matched = (each[share, arm][study.last].logit for arm in ("chosen", "matched"))
    return mean(chosen - matched, each.targets.documents)


def _off_target(study: AblationStudy, edited: str, measured: str, model: str) -> Estimate:
    return mean(study.off_target[edited, measured][model].logit, study.words[measured].documents)


def _top(share: str) -> str:
    """What is said of the latents at a share."""
    return "the given latents" if share == GIVEN else f"top {share} of latents"


def _n_documents(targets: Targets) -> int:
    return len(targets.documents.unique())


def _headline(study: AblationStudy, each: CategoryAblation, share: str) -> Headline:
    name, last = each.category.name, study.last
    others = "; ".join(f"{model} {_estimate(each, share, 'chosen', model).value:.2f}" for model in study.models[:-1])
    control = _estimate(each, share, "matched", last)
    elsewhere = [
        _off_target(study, name, on, last).value for edited, on in study.off_target if edited == name != on != OTHER
    ]
    off_target = f"; other categories' words {min(elsewhere):.2f} at the most" if elsewhere else ""
    return Headline(
        name=f"{name}, {last}",
        value=_estimate(each, share, "chosen", last),
        n=len(each.targets.prefixes),
        unit=f"positions of {_n_documents(each.targets)} documents",
        note=(
            f"logits, {len(each.latents[share])} latents ({'given' if share == GIVEN else f'top {share}'}); {others};"
            f" {last} without the matched control {control.value:.2f}{off_target}"
        ),
    )


def _fewer(study: AblationStudy, asked: int) -> str:
    """Which categories have fewer positions than were asked for, so that their intervals are wider."""
    found = ((each.category.name, each.targets.found) for each in study.categories)
    few = [f"{name}: {n} positions found of the {asked} asked for" for name, n in found if n < asked]
    return f" {'; '.join(few)}; all are used. Raise --tokens to find more." if few else ""


def _main_table(study: AblationStudy, settings: AblationSettings) -> Table:
    share, asked, last = settings.reference_name, settings.targets, study.last
    rows: list[list[Cell]] = [
        [
            each.category.name,
            len(each.latents[share]),
            *(_estimate(each, share, "chosen", model) for model in _last_first(study)),
            _estimate(each, share, "matched", last),
            _estimate(each, share, "random", last),
            _difference(study, each, share),
            each.matched_code[share],
            len(each.targets.prefixes),
            _n_documents(each.targets),
            each.targets.found,
        ]
        for each in study.categories
    ]
    return Table(
        title=f"Change of the word's logit, {_top(share)}",
        columns=(
            "category", "latents", *_last_first(study), "matched", "random", "chosen − matched", "match", "n",
            "documents", "found",
        ),
        rows=rows,
        note=(
            "Edited minus unedited, with 95 % bootstrap intervals that draw whole documents. matched and random: as"
            f" many other alive latents, in the {last} model; matched ones fire about as strongly at these positions"
            " (match: their mean code over the chosen ones'). Controls are means over"
            f" {settings.control_draws} draws of latents; their intervals do not count which latents were drawn."
            f" n positions, drawn of those found.{_fewer(study, asked)}"
        ),
    )  # fmt: skip


def _measures_table(study: AblationStudy, share: str) -> Table:
    measures = {"log p (nats)": "log_probability", "rank": "rank"}
    arms = [(title, measure, arm) for title, measure in measures.items() for arm in ("chosen", "matched")]
    return Table(
        title=f"Change of the word's log probability and rank, {study.last}, {_top(share)}",
        columns=("category", *(f"{title}, {arm}" for title, _, arm in arms)),
        rows=[
            [each.category.name, *(_estimate(each, share, arm, study.last, measure) for _, measure, arm in arms)]
            for each in study.categories
        ],
        note="A positive change of rank is further from the top of the vocabulary.",
    )


def _share_table(study: AblationStudy) -> Table:
    arms = [(arm, model) for arm in ("chosen", "matched", "random") for model in _last_first(study)]
    return Table(
        title="By share of latents taken out",
        columns=("category, share", "latents", *(f"{arm}, {model}" for arm, model in arms)),
        rows=[
            [
                f"{each.category.name}, {share}",
                len(latents),
                *(_estimate(each, share, arm, model) for arm, model in arms),
            ]
            for each in study.categories
            for share, latents in each.latents.items()
        ],
        note="Change of logit. Where fewer latents are eligible than a share asks for, all of them are taken.",
        detail=True,
    )


def _matrix_table(study: AblationStudy) -> Table:
    names = [each.category.name for each in study.categories]
    measured = list(study.words)
    return Table(
        title=f"Off target: the same edit on other words, {study.last}",
        columns=("latents of", *(f"on {name}" for name in measured)),
        rows=[[edited, *(_off_target(study, edited, name, study.last) for name in measured)] for edited in names],
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
    share = settings.reference_name
    charts = []
    for each in study.categories:
        name = each.category.name
        changes = {model: each[share, "chosen"][model].logit.numpy() for model in study.models}
        control = each[share, "matched"][study.last].logit.numpy()
        caption = f"{name}: change of the word's logit, {_top(share)}; the control is the matched one."
        figure = logit_change_histogram(changes, control, name)
        charts.append(Chart(name=f"histogram_{name}", figure=figure, caption=caption))
        if share != GIVEN:
            by_share = {
                model: {arm: [_estimate(each, at, arm, model) for at in each.latents] for arm in ARMS}
                for model in study.models
            }
            caption = f"{name}: mean change by share of latents taken out, bands 95 % intervals."
            figure = effect_by_fraction(settings.shares, by_share, name)
            charts.append(Chart(name=f"by_share_{name}", figure=figure, caption=caption))
    names = [each.category.name for each in study.categories]
    matrix = np.array([[_off_target(study, edited, on, study.last).value for on in study.words] for edited in names])
    figure = effect_matrix(matrix, names, list(study.words), f"Change of logit, {study.last}")
    charts.append(Chart(name="off_target", figure=figure, caption="Rows: whose latents are out; columns: whose words."))
    return charts
