"""The study's numbers as `results.json` holds them."""

from typing import Any

from toolkit.experiments.ablation import GIVEN, AblationSettings
from toolkit.experiments.ablation.claims import binding, claims
from toolkit.experiments.ablation.study import CONTROLS, AblationStudy
from toolkit.reports.verdicts import verdict_results
from toolkit.statistics.estimates import Estimate


def ablation_results(study: AblationStudy, settings: AblationSettings) -> dict[str, Any]:
    """Every mean with its interval by category, at the reference share and at all; each crosscoder's; the verdicts."""
    claimed = [] if settings.paper else claims(study, settings.reference_name)
    found: dict[str, Any] = {
        "ablation": {name: _of_category(study, name, settings) for name in study.names},
        "off_target": {
            f"{edited} on {on}": {model: study.off_target(edited, on, model) for model in study.models}
            for edited in study.names
            for on in study.words
        },
        "seeds": {
            name: {str(seed): _of_seed(study, seed, name, settings.reference_name) for seed in study.seeds}
            for name in study.names
        },
        "verdicts": verdict_results(claimed),
        "left_out": study.left_out,
    }
    if study.null is not None:
        found["null"] = ablation_results(study.null, settings)
    elif study.null_missing:
        found["null"] = {"left_out": study.null_missing}
    return found


def _of_category(study: AblationStudy, name: str, settings: AblationSettings) -> dict[str, Any]:
    """By themselves stand the models' falls at the reference share, and the last model's without each control."""
    share, last, each, words = settings.reference_name, study.last, study.own.categories[name], study.words[name]
    intervals = {
        **{model: study.effect(name, share, "chosen", model) for model in reversed(study.models)},
        **{key: study.effect(name, share, arm, last) for arm, key in _keys(last).items()},
    }
    by_share = {
        share: {
            arm: {model: study.effect(name, share, arm, model) for model in study.models if arm in study.arms(model)}
            for arm in study.arms(last)
        }
        for share in each.latents
    }
    difference = study.rows(
        lambda one: (
            one.categories[name][share, "chosen"][last].logit - one.categories[name][share, "matched"][last].logit
        )
    )
    return {
        **{key: estimate.value for key, estimate in intervals.items()},
        "intervals": intervals,
        "share": None if share == GIVEN else settings.reference,
        "n": len(words.prefixes),
        "n_documents": len(words.documents.unique()),
        "found": words.found,
        "latents": each.latents[share],
        "matched_code": each.matches[share].code_ratio,
        "matched_nrn": each.matches[share].nrn_difference,
        "controls": binding(study, name, share),
        f"{last}_minus_control": study.estimate(difference, name),
        "removed": {model: study.effect(name, share, "chosen", model, "removed") for model in study.models},
        "probability": {model: study.effect(name, share, "chosen", model, "probability") for model in study.models},
        f"{study.models[0]}_where_undecided": where_undecided(study, name, settings)[0],
        "by_share": by_share,
    }  # fmt: skip


def _keys(last: str) -> dict[str, str]:
    """What results call the last model's falls without the controls."""
    return {arm: f"{'control' if arm == 'matched' else arm}_{last}" for arm in CONTROLS}


def _of_seed(study: AblationStudy, seed: int, name: str, share: str) -> dict[str, Any]:
    """One crosscoder's values, without intervals."""
    one = study.seeds[seed]
    each = one.categories[name]
    return {
        **{model: float(each[share, "chosen"][model].logit.mean()) for model in reversed(study.models)},
        **{key: float(each[share, arm][study.last].logit.mean()) for arm, key in _keys(study.last).items()},
        "best": {arm: float(each.best(share, arm, study.last).mean()) for arm in CONTROLS},
        "latents": each.latents[share],
        "matched_code": each.matches[share].code_ratio,
        "matched_nrn": each.matches[share].nrn_difference,
        "removed": float(each[share, "chosen"][study.last].removed.mean()),
    }


def where_undecided(study: AblationStudy, name: str, settings: AblationSettings) -> tuple[Estimate, int]:
    """The first model's effect at those of the words that are undecided for it too, and their number."""
    low, high = settings.undecided
    share, first = settings.reference_name, study.models[0]
    changes = study.rows(lambda one: one.categories[name][share, "chosen"][first].logit)
    probability = study.own.categories[name][share, "chosen"][first].probability
    undecided = (probability >= low) & (probability <= high)
    return study.estimate(changes.masked_fill(~undecided, float("nan")), name), int(undecided.sum())
