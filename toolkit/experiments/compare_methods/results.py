"""Every number of the comparison, as `results.json` holds it."""

from collections.abc import Mapping
from typing import Any

from toolkit.experiments.compare_methods.measure import Comparison, MethodFound, PairFound
from toolkit.experiments.compare_methods.methods import METHODS
from toolkit.experiments.compare_methods.study import DENSE, SPARSE, Found
from toolkit.experiments.compare_methods.verdicts import Shows, difference_claims, false_discoveries, shown


def results(found: Comparison, shows: Shows) -> dict[str, Any]:
    """All of it; `methods` are the best of all units, `claimed` of those that a method calls the last model's own."""
    return {
        "methods": {name: _by_behaviour(method, method.any_unit) for name, method in found.pair.methods.items()},
        "floor": _floors(found.pair, SPARSE),
        "floor_dense": _floors(found.pair, DENSE),
        "ceiling": {behaviour: readout.auroc.value for behaviour, readout in found.ceilings.items()},
        "null": false_discoveries(found),
        "adjusted": shows,
        "claimed": {name: _by_behaviour(method, method.claimed) for name, method in found.pair.methods.items()},
        "claimed_adjusted": shown(difference_claims(found.pair), found.pair),
        "effects": {name: vars(effects) for name, effects in found.effects.items()},
        "chosen": {
            name: {
                "plan": chosen(name, method),
                "configurations": method.configurations,
                "l0": method.l0,
                "parameters": method.parameters,
                "units_claimed": method.n_claimed,
                "null_units_claimed": found.null.methods[name].n_claimed if found.null else None,
            }
            for name, method in found.pair.methods.items()
        },
        "first_positions": {str(position): tokens for position, tokens in found.first_tokens.items()},
    }


def _floors(pair: PairFound, kind: str) -> dict[str, float]:
    return {behaviour: floor.auroc.value for behaviour, floor in pair.floors[kind].items()}


def _by_behaviour(method: MethodFound, found: Mapping[str, Found]) -> dict[str, Any]:
    return {
        behaviour: {
            "auroc": each.auroc.value,
            "auroc_low": each.auroc.low,
            "auroc_high": each.auroc.high,
            "recall": each.recall,
            "seconds": method.seconds,
            "note": each.auroc.note,
            "together": each.together,
            "margins": each.margins,
            "spread": each.spread,
            "units": list(each.units),
        }
        for behaviour, each in found.items()
    }


def chosen(name: str, method: MethodFound) -> str:
    """The size and the sparsity that a method did best with."""
    if not METHODS[name].has_seeds:
        return "–"
    plan = method.plan
    sparsity = {"l1": f"λ {plan.sparsity_coefficient:g}", "jumprelu": f"θ {plan.jumprelu_threshold:g}"}
    return f"{plan.n_latents:,} latents, {sparsity.get(plan.sparsity, f'k {plan.k}')}"
