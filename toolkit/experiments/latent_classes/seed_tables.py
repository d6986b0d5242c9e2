"""What every seed's crosscoder says of the pair, and of the null pair, side by side: a table and the results."""

from collections.abc import Mapping
from typing import Any

from toolkit.experiments.latent_classes.seeds import RULE, BothPairs, Measure, SeedClasses
from toolkit.formatting import number
from toolkit.latents.classification import tags_of
from toolkit.reports.findings import Cell, Table
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.seeds import difference_of_seeds, mean_of_seeds

WITHOUT_NULL = (
    "No null run is named, so nothing says how many of these a pair without distillation has. Train one on base and a"
    " model that was trained on from it as much, but not distilled, with all other settings as here:"
    " train_crosscoder.py --base BASE --distilled CONTROL --out NULL; then add --null-run NULL."
)


def measures(pairs: BothPairs) -> dict[str, Measure]:
    """By name what is compared: latents with each tag, those that survive, and the lean."""
    tags = tags_of(*pairs.models)
    counts: dict[str, Measure] = {tag: lambda each, tag=tag: each.count(tag) for tag in tags}
    survivors: dict[str, Measure] = {
        f"{tag}, survive": lambda each, tag=tag: each.survivors(tag) for tag in tags if tag != "dead"
    }
    return counts | survivors | {"lean": lambda each: each.lean}


def seed_table(pairs: BothPairs) -> Table:
    """Counts of each tag and the mean NRN, by seed, beside those of the null pair."""
    rows: list[list[Cell]] = []
    for name, measure in measures(pairs).items():
        own, null = pairs.numbers(measure)
        if not any(own + null):
            continue
        cells: list[Cell] = [name, _each(own), mean_of_seeds(own)]
        rows.append([*cells, _each(null), mean_of_seeds(null), difference_of_seeds(own, null)] if null else cells)
    models = " → ".join(pairs.models)
    columns = ("latents", f"{models}, each seed", "mean")
    return Table(
        title="Every seed's latents" + (", beside those of the null pair" if pairs.null else ""),
        columns=(*columns, "base and control, each seed", "mean", "difference") if pairs.null else columns,
        rows=rows,
        note=f"Survive: {RULE}. lean: mean NRN − .5. {_units(pairs)}{_seeds(pairs)}"
        + ("" if pairs.null else f" {WITHOUT_NULL}"),
    )


def _units(pairs: BothPairs) -> str:
    if pairs.own.classes.scales_recorded:
        return "NRN is in units of training, where both models' streams have the same mean norm and .5 is neutral. "
    return "NRN is in raw units, since no scales of training are recorded. "


def _seeds(pairs: BothPairs) -> str:
    if len(pairs.seeds) == 1:
        return "One seed: everything is given this crosscoder, and without interval (train with --seeds 3)."
    return (
        f"{len(pairs.seeds)} crosscoders from other initial weights, trained on one stream; 95 % intervals over them by"
        f" t, few seeds being few degrees of freedom{'; of the difference by Welch' if pairs.null else ''}."
    )


def _each(values: list[float]) -> str:
    return ", ".join(number(int(each)) if each.is_integer() else f"{each:+.3f}" for each in values)


def seed_results(pairs: BothPairs) -> dict[str, Any]:
    """Every seed's numbers, and what they give together."""
    compared = measures(pairs)
    return {
        "seeds": _by_seed(pairs.seeds, compared),
        "null": _by_seed(pairs.null, compared) if pairs.null else None,
        "over_seeds": {name: _together(pairs, measure) for name, measure in compared.items()},
    }


def _by_seed(pair: Mapping[int, SeedClasses], compared: Mapping[str, Measure]) -> dict[str, Any]:
    return {
        str(seed): {
            "neutral": each.classes.neutral,
            "mean_nrn": each.classes.mean_nrn,
            "mean_nrn_training_units": each.classes.mean_nrn_training_units,
            **{name: measure(each) for name, measure in compared.items()},
        }
        for seed, each in pair.items()
    }


def _together(pairs: BothPairs, measure: Measure) -> dict[str, Estimate]:
    own, null = pairs.numbers(measure)
    mean = {"mean": mean_of_seeds(own)}
    return mean | ({"null": mean_of_seeds(null), "difference": difference_of_seeds(own, null)} if null else {})
