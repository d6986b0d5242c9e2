"""The ablation page: the words' logits without their latents, beside the controls, other words, and the null pair."""

from collections.abc import Sequence

import numpy as np

from toolkit.experiments.ablation import GIVEN, AblationConfig, AblationSettings, detail_tables, tables
from toolkit.experiments.ablation.claims import MOST_REMOVED, claims
from toolkit.experiments.ablation.results import ablation_results
from toolkit.experiments.ablation.study import AblationStudy
from toolkit.experiments.run import Run
from toolkit.reports.figures import effect_by_fraction, effect_matrix, estimates_by_name, logit_change_histogram
from toolkit.reports.findings import Chart, Findings, Headline, Table, left_out_tables
from toolkit.reports.verdicts import verdict_table
from toolkit.statistics.estimates import Estimate, mean
from toolkit.statistics.verdicts import Claim, judge


def page(settings: AblationConfig, run: Run, study: AblationStudy) -> Findings:
    """The page's content."""
    share, claimed = settings.reference_name, [] if settings.paper else claims(study, settings.reference_name)
    warning = tables.removed_warning(study, share, MOST_REMOVED)
    return Findings(
        name="ablation",
        title="Ablation: what a category's latents do for its words",
        question=(
            "Latents that fire where a category's word is predicted are taken out of the residual stream, in either"
            " model. Does the word's logit fall further than other words', and than without as much else?"
        ),
        facts=run.facts() | protocol(settings, study) | ({"caution": warning} if warning else {}),
        headline=_headlines(study, claimed, share),
        tables=[
            *([verdict_table(claimed), tables.margins_table(study, claimed, share)] if claimed else []),
            tables.main_table(study, settings),
            tables.removed_table(study, share),
            *([tables.seeds_table(study, share)] if len(study.seeds) > 1 else []),
            detail_tables.matrix_table(study),
            *(
                [tables.overlap_table(study, share), detail_tables.specific_table(study)]
                if len(study.names) > 1
                else []
            ),
            *_null_tables(study, share),
            detail_tables.before_table(study, settings),
            detail_tables.measures_table(study, share),
            detail_tables.share_table(study, settings),
            detail_tables.words_table(study),
            *left_out_tables("category", study.left_out),
        ],
        charts=_charts(study, settings),
        claims=claimed,
        results=ablation_results(study, settings) | {"settings": protocol(settings, study)},
    )


def protocol(settings: AblationSettings, study: AblationStudy) -> dict[str, str]:
    """How it was measured, in words."""
    low, high = settings.undecided
    what = "the reconstruction, against the unablated one" if settings.paper else "the stream, error kept"
    lift = "" if settings.select == "quantile" else f", lift at least {settings.least_lift:g}"
    return {
        "chosen by": "name"
        if settings.latents
        else f"{settings.select} on the {settings.place} position, NRN above {settings.min_nrn:g}{lift}",
        "taken out": f"{settings.positions} positions, of {what}",
        "words": "all occurrences" if (low, high) == (0, 1) else f"{study.last} probability {low:g} to {high:g}",
        "crosscoders": f"seeds {', '.join(map(str, study.seeds))}, on the same words"
        if len(study.seeds) > 1
        else f"seed {next(iter(study.seeds))} alone: how another would differ is not known",
        "seed": str(settings.seed),
    }


def _headlines(study: AblationStudy, claimed: Sequence[Claim], share: str) -> list[Headline]:
    shows = {verdict.claim.name: "shows" if verdict.shows else "does not show" for verdict in judge(claimed)}
    verdicts = [f"; {shows[claim.name]}" for claim in claimed] or [""] * len(study.names)
    return [_headline(study, name, share, verdict) for name, verdict in zip(study.names, verdicts, strict=True)]


def _headline(study: AblationStudy, name: str, share: str, verdict: str) -> Headline:
    last, words = study.last, study.words[name]
    others = "; ".join(f"{model} {study.effect(name, share, 'chosen', model).value:.2f}" for model in study.models[:-1])
    elsewhere = [study.off_target(name, on, last).value for on in study.elsewhere(name)]
    off_target = f"; other words {min(elsewhere):.2f} at the most" if elsewhere else ""
    directions = study.effect(name, share, "directions", last).value
    return Headline(
        name=f"{name}, {last}",
        value=study.effect(name, share, "chosen", last),
        n=len(words.prefixes),
        unit=f"positions of {len(words.documents.unique())} documents",
        note=(
            f"logits, {'given latents' if share == GIVEN else f'top {share}'}; {others}; {last} without as much at"
            f" random {directions:.2f}{off_target}{verdict}"
        ),
    )


def _null_tables(study: AblationStudy, share: str) -> list[Table]:
    if study.null is None:
        reason = {"the null pair": study.null_missing} if study.null_missing else {}
        return left_out_tables("what", reason)
    claimed = claims(study.null, share)
    return [tables.null_table(study.null, claimed, share, sum(verdict.shows for verdict in judge(claimed)))]


def _charts(study: AblationStudy, settings: AblationSettings) -> list[Chart]:
    share = settings.reference_name
    charts = [
        Chart(
            name="effects",
            figure=estimates_by_name(_effects(study, share), f"Change of the word's logit, {study.last}", "logits"),
            caption="Means over crosscoders, each crosscoder, and random directions, with 95 % intervals.",
        )
    ]
    for name in study.names:
        each = study.own.categories[name]
        changes = {model: each[share, "chosen"][model].logit.numpy() for model in study.models}
        control = each[share, "directions"][study.last].logit.numpy()
        caption = f"{name}: change of the word's logit, {tables.top(share)}, one crosscoder; control: directions."
        figure = logit_change_histogram(changes, control, name)
        charts.append(Chart(name=f"histogram_{name}", figure=figure, caption=caption))
        if share != GIVEN:
            by_share = {
                model: {arm: [study.effect(name, at, arm, model) for at in each.latents] for arm in study.arms(model)}
                for model in study.models
            }
            caption = f"{name}: mean change by share of latents taken out, bands 95 % intervals."
            figure = effect_by_fraction(settings.shares, by_share, name)
            charts.append(Chart(name=f"by_share_{name}", figure=figure, caption=caption))
    matrix = np.array([[study.off_target(name, on, study.last).value for on in study.words] for name in study.names])
    figure = effect_matrix(matrix, study.names, list(study.words), f"Change of logit, {study.last}")
    charts.append(Chart(name="off_target", figure=figure, caption="Rows: whose latents are out; columns: whose words."))
    return charts


def _effects(study: AblationStudy, share: str) -> dict[str, Estimate]:
    """Each category's effect, that of each crosscoder, and its control's, by what a figure calls them."""
    lines: dict[str, Estimate] = {}
    for name in study.names:
        lines[name] = study.effect(name, share, "chosen", study.last)
        for seed, one in study.seeds.items() if len(study.seeds) > 1 else ():
            logit = one.categories[name][share, "chosen"][study.last].logit
            lines[f"{name}, seed {seed}"] = mean(logit, study.words[name].documents)
        lines[f"{name}, directions"] = study.effect(name, share, "directions", study.last)
    return lines
