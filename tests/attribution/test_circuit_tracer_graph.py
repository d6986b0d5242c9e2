"""The format is checked against a table of its keys and types: circuit-tracer itself is no dependency."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_graphs import WORDS, tiny_graph

from toolkit.attribution.circuit_tracer_graph import circuit_tracer_graph, write_circuit_tracer_graphs

METADATA = {
    "slug": str, "scan": str, "transcoder_list": list, "prompt_tokens": list, "prompt": str, "node_threshold": float,
    "schema_version": int,
}  # fmt: skip
PARAMETERS = {"pinnedIds": list, "supernodes": list, "linkType": str, "clickedId": str, "sg_pos": str}
NODE = {
    "node_id": str, "feature": int, "layer": str, "ctx_idx": int, "feature_type": str, "token_prob": float,
    "is_target_logit": bool, "run_idx": int, "reverse_ctx_idx": int, "jsNodeId": str, "clerp": str,
    "influence": (float, type(None)), "activation": (float, type(None)),
}  # fmt: skip
LINK = {"source": str, "target": str, "weight": float}
KINDS = {"cross layer transcoder", "mlp reconstruction error", "embedding", "logit"}


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    """A graph's file, read back."""
    graph = circuit_tracer_graph(tiny_graph(), slug="graph", supernodes={"ends": [1, 2]})
    write_circuit_tracer_graphs(tmp_path, {"graph": graph})
    loaded: dict[str, Any] = json.loads((tmp_path / "graph.json").read_text(), parse_constant=pytest.fail)
    return loaded


def check(entry: dict[str, Any], table: dict[str, Any]) -> None:
    assert entry.keys() == table.keys()
    for name, kind in table.items():
        assert isinstance(entry[name], kind), name
        assert isinstance(entry[name], bool) == (kind is bool), name


def node(content: dict[str, Any], node_id: str) -> dict[str, Any]:
    (found,) = (each for each in content["nodes"] if each["node_id"] == node_id)
    return found


def test_every_entry_has_the_keys_and_types_of_the_schema(content: dict[str, Any]) -> None:
    assert content.keys() == {"metadata", "qParams", "nodes", "links"}
    check(content["metadata"], METADATA)
    check(content["qParams"], PARAMETERS)
    for each in content["nodes"]:
        check(each, NODE)
    for each in content["links"]:
        check(each, LINK)
    assert {each["feature_type"] for each in content["nodes"]} == KINDS
    assert content["metadata"]["prompt_tokens"] == list(WORDS)
    assert content["metadata"]["prompt"] == " So 24 is. Wait"
    assert content["metadata"]["schema_version"] == 1


def test_nodes_have_the_ids_of_their_kinds(content: dict[str, Any]) -> None:
    ids = [each["node_id"] for each in content["nodes"]]
    assert ids == [
        "0_7_1", "1_3_4", "1_9_4", "E_11_0", "E_12_1", "E_13_2", "E_14_3", "E_15_4", "bias", "3_21_4", "3_22_4",
    ]  # fmt: skip
    latent, token, bias, logit = (node(content, each) for each in ("1_3_4", "E_12_1", "bias", "3_21_4"))
    assert latent.items() >= {
        "feature": 13, "layer": "1", "ctx_idx": 4, "jsNodeId": "1_3-0", "clerp": "", "activation": 2.0,
    }.items()  # fmt: skip
    assert latent["influence"] == pytest.approx(0.4)
    assert token.items() >= {"feature": 1, "layer": "E", "ctx_idx": 1, "jsNodeId": "E_12-1", "influence": 0.0}.items()
    assert bias.items() >= {"feature": -1, "layer": "0", "clerp": "Biases of all layers", "activation": None}.items()
    assert logit.items() >= {
        "feature": 21, "layer": "3", "ctx_idx": 4, "jsNodeId": "L_21-4", "clerp": 'Output " let" (p=0.750)',
        "token_prob": 0.75, "is_target_logit": True, "influence": None,
    }.items()  # fmt: skip
    assert node(content, "3_22_4")["is_target_logit"] is False


def test_links_join_ids_with_signed_weights(content: dict[str, Any]) -> None:
    assert len(content["links"]) == 9
    assert {"source": "1_9_4", "target": "3_21_4", "weight": -1.0} in content["links"]
    assert {"source": "bias", "target": "0_7_1", "weight": -0.25} in content["links"]


def test_supernodes_are_lists_of_a_name_and_ids(content: dict[str, Any]) -> None:
    assert content["qParams"]["supernodes"] == [["ends", "1_3_4", "1_9_4"]]


def test_the_list_of_graphs_holds_their_metadata(tmp_path: Path) -> None:
    graphs = {slug: circuit_tracer_graph(tiny_graph(slug), slug=slug) for slug in ("graph", "graph_hybrid")}
    written = write_circuit_tracer_graphs(tmp_path, graphs)
    assert [path.name for path in written] == ["graph.json", "graph_hybrid.json", "graph-metadata.json"]
    listed = json.loads(written[-1].read_text())
    assert [each["slug"] for each in listed["graphs"]] == ["graph", "graph_hybrid"]
    assert listed["graphs"][1]["scan"] == "graph_hybrid"
