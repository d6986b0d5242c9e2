"""Attribution graphs in circuit-tracer's JSON format, schema 1, which its page reads."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from toolkit.adapters.feature_files import cantor_number
from toolkit.artifacts import write_json
from toolkit.attribution.graph import AttributionGraph

METADATA = "graph-metadata.json"
BIAS_ID = "bias"
BIAS_LABEL = "Biases of all layers"


def circuit_tracer_graph(
    graph: AttributionGraph, *, slug: str, supernodes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Any]:
    """Return the content of a graph's file, which circuit-tracer expects to be called `{slug}.json`.

    The format has no node for biases. Here they are one node of the kind that stands for what latents do not explain,
    with the id `bias`: its page lists it apart from the latents. The model's name stands in the place of a transcoder
    set's, under which the page looks for examples of latents.

    supernodes: name to numbers of nodes; the page shows them once their nodes are pinned.
    """
    ids = [_node_id(graph, node) for node in range(graph.n_nodes)]
    groups = [[name, *(ids[node] for node in nodes)] for name, nodes in (supernodes or {}).items()]
    links = zip(graph.edges.tolist(), graph.weights.tolist(), strict=True)
    return {
        "metadata": {
            "slug": slug,
            "scan": graph.model,
            "transcoder_list": [],
            "prompt_tokens": list(graph.tokens),
            "prompt": "".join(graph.tokens),
            "node_threshold": graph.node_threshold,
            "schema_version": 1,
        },
        "qParams": {"pinnedIds": [], "supernodes": groups, "linkType": "both", "clickedId": "", "sg_pos": ""},
        "nodes": [_node(graph, node, node_id) for node, node_id in enumerate(ids)],
        "links": [
            {"source": ids[source], "target": ids[target], "weight": weight} for (source, target), weight in links
        ],
    }


def write_circuit_tracer_graphs(folder: Path, graphs: Mapping[str, dict[str, Any]]) -> list[Path]:
    """Write `{slug}.json` for each slug, and the list of them that circuit-tracer's page opens; return the paths."""
    for slug, content in graphs.items():
        write_json(folder / f"{slug}.json", content)
    write_json(folder / METADATA, {"graphs": [content["metadata"] for content in graphs.values()]})
    return [*(folder / f"{slug}.json" for slug in graphs), folder / METADATA]


def _node_id(graph: AttributionGraph, node: int) -> str:
    match graph.kind(node):
        case "latent":
            layer, position, latent = graph.latents[node].tolist()
            return f"{layer}_{latent}_{position}"
        case "token":
            position = node - graph.first_token
            return f"E_{graph.token_ids[position]}_{position}"
        case "bias":
            return BIAS_ID
        case "logit":
            return f"{graph.n_layers + 1}_{graph.logit_ids[node - graph.first_logit]}_{len(graph.tokens) - 1}"


def _node(graph: AttributionGraph, node: int, node_id: str) -> dict[str, Any]:
    """All entries of a node; what its kind does not say is as circuit-tracer leaves it."""
    influence = float(graph.influence[node])
    common = {
        "node_id": node_id,
        "token_prob": 0.0,
        "is_target_logit": False,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "clerp": "",
        "influence": influence if isfinite(influence) else None,
        "activation": None,
    }
    kinds = {"latent": _latent, "token": _token, "bias": _bias, "logit": _logit}
    return common | kinds[graph.kind(node)](graph, node)


def _latent(graph: AttributionGraph, node: int) -> dict[str, Any]:
    layer, position, latent = graph.latents[node].tolist()
    return {
        "feature": cantor_number(layer, latent),
        "layer": str(layer),
        "ctx_idx": position,
        "feature_type": "cross layer transcoder",
        "jsNodeId": f"{layer}_{latent}-0",
        "activation": float(graph.activations[node]),
    }


def _token(graph: AttributionGraph, node: int) -> dict[str, Any]:
    position = node - graph.first_token
    return {
        "feature": position,
        "layer": "E",
        "ctx_idx": position,
        "feature_type": "embedding",
        "jsNodeId": f"E_{graph.token_ids[position]}-{position}",
    }


def _bias(graph: AttributionGraph, node: int) -> dict[str, Any]:
    return {
        "feature": -1,
        "layer": "0",
        "ctx_idx": 0,
        "feature_type": "mlp reconstruction error",
        "jsNodeId": f"{BIAS_ID}-0",
        "clerp": BIAS_LABEL,
    }


def _logit(graph: AttributionGraph, node: int) -> dict[str, Any]:
    number, position = node - graph.first_logit, len(graph.tokens) - 1
    token, probability = graph.logit_tokens[number], graph.probabilities[number]
    return {
        "feature": graph.logit_ids[number],
        "layer": str(graph.n_layers + 1),
        "ctx_idx": position,
        "feature_type": "logit",
        "token_prob": probability,
        "is_target_logit": number == 0,
        "jsNodeId": f"L_{graph.logit_ids[number]}-{position}",
        "clerp": f'Output "{token}" (p={probability:.3f})',
        "influence": None,
    }
