"""The hesitation page: what was chosen, what its removal, addition and transfer do, and what answers read like."""

from collections.abc import Sequence
from typing import Any

from toolkit.answers.means import MEASURES, means
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.hesitation import HesitationConfig
from toolkit.experiments.hesitation.claims import claims, cut
from toolkit.experiments.hesitation.interventions import UNCHANGED, Intervened, Intervention
from toolkit.experiments.hesitation.measure import Measured
from toolkit.experiments.hesitation.study import Chosen
from toolkit.experiments.hesitation.tables import (
    TITLES,
    intervention_table,
    latent_table,
    layer_table,
    planted_table,
    text_table,
    threshold_table,
)
from toolkit.formatting import percent
from toolkit.reports.figures import estimates_by_name
from toolkit.reports.findings import Chart, Findings, Headline, SideBySide, left_out_tables
from toolkit.reports.verdicts import verdict_results, verdict_table
from toolkit.statistics.estimates import GIVEN_ONE_ADAPTER, Estimate


def page(settings: HesitationConfig, run: AdapterRun, found: Measured) -> Findings:
    """The page's content."""
    claimed = claims(found)
    return Findings(
        name="hesitation",
        title="Hesitation: the latents of an adapter that make a model doubt itself",
        question=(
            "Which latents of the adapter make the model write hesitation words? Does it hesitate less without them,"
            " does the hybrid hesitate with them alone, and does subtracting them from the distilled model shorten its"
            " answers?"
        ),
        facts=run.facts() | _protocol(settings, found),
        headline=_headline(found),
        tables=[
            *([verdict_table(claimed, note=f"All {GIVEN_ONE_ADAPTER}.")] if claimed else []),
            *(intervention_table(name, settings, found) for name in found.interventions),
            *text_table(found),
            threshold_table(settings, found),
            layer_table(found),
            *planted_table(found),
            latent_table(found),
            *left_out_tables("arm", found.left_out),
        ],
        charts=[_chart(name, done) for name, done in found.interventions.items()] if found.arms else [],
        texts=[text for name, done in found.interventions.items() for text in _texts(name, done, found)],
        claims=claimed,
        results=_results(settings, found) | {"verdicts": verdict_results(claimed)},
    )


def _protocol(settings: HesitationConfig, found: Measured) -> dict[str, str]:
    drawn = (
        "greedy" if settings.temperature == 0 else f"temperature {settings.temperature:g}, the same seeds in all arms"
    )
    n = len(found.questions)
    short = f" ({settings.test} were asked for: give more with --questions)" if n < settings.test else ""
    return {
        "hesitation words": ", ".join(map(repr, found.hesitation.tokens)),
        "latents chosen on": f"{found.latents.tokens:,} held-out tokens, by {settings.rule}",
        "answers": f"{n} questions{short}, {drawn}, at most {settings.new_tokens} new tokens",
        "seed": str(settings.seed),
    }


def _headline(found: Measured) -> list[Headline]:
    latents = found.latents
    rows = [
        Headline(
            name="hesitation latents",
            value=len(latents.both),
            n=latents.alive.numel(),
            unit="latents",
            note=(
                f"{percent(latents.share)}: {len(latents.output.latents)} output latents, "
                f"{len(latents.template.latents)} template latents"
            ),
        )
    ]
    off = found.interventions["off"]
    for arm in off.arms:
        if arm in ("output", "template"):
            continue
        rows.append(
            Headline(
                name="cut of hesitation without them" if arm == "both" else f"without {arm} latents",
                value=cut(off, arm),
                n=len(found.questions),
                unit="questions",
                note=f"share of the adapter's; {GIVEN_ONE_ADAPTER}",
            )
        )
    return rows


def _results(settings: HesitationConfig, found: Measured) -> dict[str, Any]:
    latents = found.latents
    return {
        **{
            name: {
                arm: {key: done.mean(measure, arm) for measure, key in MEASURES.items()}
                | {f"change_of_{key}": done.change(measure, arm) for measure, key in MEASURES.items()}
                | {"n_latents": len(found.arms[arm][0]), "draws": len(found.arms[arm])}
                for arm in done.arms
            }
            for name, done in found.interventions.items()
        },
        "unchanged": {
            UNCHANGED[name]: {MEASURES[measure]: each for measure, each in means(done.unchanged, 0).items()}
            for name, done in found.interventions.items()
        },
        "n": len(found.questions),
        "output": _chosen(latents.output, found, settings),
        "template": _chosen(latents.template, found, settings),
        "share": latents.share,
        "alive": latents.alive.sum(dim=1).tolist(),
        "tokens": latents.tokens,
        "words": latents.words,
        "formatting_positions": latents.formatting,
        "on_text": _on_text(found),
        "planted": _planted(found),
        "left_out": dict(found.left_out),
    }


def _chosen(chosen: Chosen, found: Measured, settings: HesitationConfig) -> dict[str, Any]:
    return {
        "threshold": chosen.threshold,
        "thresholds": dict(chosen.thresholds),
        "quantile": settings.quantile,
        "n_eligible": chosen.n_eligible,
        "expected_by_chance": chosen.expected_false,
        "latents": [
            {
                "layer": latent[0],
                "latent": latent[1],
                "score": float(chosen.scores[latent]),
                "attribution": float(found.latents.attribution[latent]),
                "firing_rate": float(found.latents.rate[latent]),
                "before_hesitation": float(found.latents.at_words[latent]),
                "promotes": list(found.promoted[latent]),
            }
            for latent in chosen.latents
        ],
    }


def _on_text(found: Measured) -> dict[str, Any] | None:
    on_text = found.on_text
    if on_text is None:
        return None
    arms = {
        arm: {
            "probability": on_text.mean_probability(arm),
            "cut": on_text.cut(arm),
            "loss_elsewhere": on_text.cost(arm),
        }
        for arm in on_text.arms
    }
    return {
        "arms": arms,
        "probability_unchanged": float(on_text.probability[0].mean()),
        "n_words": on_text.probability.shape[1],
        "n_documents": on_text.loss.shape[1],
    }


def _planted(found: Measured) -> dict[str, Any] | None:
    planted = found.planted
    if planted is None:
        return None
    return {
        name: {"auroc": each.auroc, "floor": each.floor, "margin": each.margin}
        for name, each in (("one", planted.one), ("together", planted.together))
    } | {"ceiling": planted.ceiling, "n_tokens": planted.n_tokens, "n_documents": planted.n_documents}


def _chart(name: Intervention, done: Intervened) -> Chart:
    estimates: dict[str, Estimate] = {UNCHANGED[name]: means(done.unchanged, 0)["hesitation"]}
    estimates |= {arm: done.mean("hesitation", arm) for arm in done.arms}
    return Chart(
        name=name,
        figure=estimates_by_name(estimates, TITLES[name].partition("?")[0] + "?", "hesitation words per 1,000 tokens"),
        caption=f"Hesitation by arm, beside the unchanged {UNCHANGED[name]}; bars are 95 % intervals.",
    )


def _texts(name: Intervention, done: Intervened, found: Measured) -> Sequence[SideBySide]:
    """The question whose answer changed in length by the median, among those whose hesitation changed if any did."""
    if "both" not in done.arms:
        return []
    hesitation = (done.values("hesitation", "both") - done.unchanged.hesitation)[0]
    length = (done.values("length", "both") - done.unchanged.length)[0]
    changed = hesitation.nonzero()[:, 0] if hesitation.any() else length.argsort()
    place = int(changed[length[changed].argsort()[len(changed) // 2]])
    return [
        SideBySide(
            title=found.questions[place].question,
            labels=(UNCHANGED[name], f"{name}: all hesitation latents"),
            texts=(done.unchanged.texts[0][place], done.arms["both"].texts[0][place]),
        )
    ]
