"""What the JSON of results holds of an attribution graph."""

from typing import Any

from toolkit.attribution.graph import AttributionGraph
from toolkit.attribution.supernodes import Supernodes
from toolkit.experiments.attribution.measure import AttributionFound
from toolkit.experiments.attribution.study import Agreement, EdgeTests
from toolkit.statistics.estimates import Estimate


def results(found: AttributionFound) -> dict[str, Any]:
    """Every number of the page, by name."""
    graph = found.graph
    return {
        "identity_error": graph.identity_error,
        "interventions": interventions(found.tests),
        "completeness": of_logits(graph)[0]["completeness"],
        "seconds": found.seconds,
        "precision": found.precision,
        "tokens": len(graph.token_ids),
        "latents": {
            "fired": graph.fired,
            "followed": graph.followed,
            "influence_not_followed": graph.not_followed,
            "kept": len(graph.latents),
        },
        "edges": len(graph.edges),
        "logits": of_logits(graph),
        "compared": {
            name: {"identity_error": each.identity_error, "edges": len(each.edges), "logits": of_logits(each)}
            for name, each in found.compared.items()
        },
    }


def of_logits(graph: AttributionGraph) -> list[dict[str, Any]]:
    """Each word that is explained, the first of them first; completeness is the kept edges' sum over the value."""
    columns = {
        "token": graph.logit_tokens,
        "id": graph.logit_ids,
        "probability": graph.probabilities,
        "value": graph.target_values[graph.first_logit :].tolist(),
        "completeness": graph.completeness()[graph.first_token :].tolist(),
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def interventions(tests: EdgeTests) -> dict[str, Any]:
    """Slope, r and n of the model with all free to change, then those of the other ways and controls."""
    return {
        **of_agreement(tests.agreement["free"]),
        "to_logits": of_agreement(tests.to_logits),
        "to_latents": of_agreement(tests.to_latents),
        "held": of_agreement(tests.agreement["held"]),
        "frozen": of_agreement(tests.agreement["frozen"]),
        "shuffled": of_agreement(tests.shuffled),
        "r_beyond_shuffled": of_estimate(tests.beyond_shuffled),
        "change_without_edge": tests.without_edge,
    }


def of_agreement(found: Agreement) -> dict[str, Any]:
    """Slope and r, with their intervals where they have one."""
    slope, r = found.slope, found.r
    return {
        "slope": slope.value,
        "slope_interval": [slope.low, slope.high],
        "r": r.value,
        "r_interval": [r.low, r.high],
        "n": found.n,
        "sources": found.sources,
    }


def of_estimate(found: Estimate) -> dict[str, Any]:
    """A value with its interval."""
    return {"value": found.value, "interval": [found.low, found.high]}


def of_supernodes(alike: Supernodes) -> dict[str, Any]:
    """How many latents have edges alike, and how many in graphs with shuffled edges."""
    return {
        "groups": len(alike.groups),
        "share": alike.share,
        "shuffled_share": alike.shuffled_share,
        "least_cosine": alike.least_cosine,
        "one_word": alike.one_word,
        "one_word_by_chance": alike.one_word_by_chance,
    }
