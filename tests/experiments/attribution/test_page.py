"""The page of an attribution graph: what it says, and the files beside it."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_graphs import tiny_graph

from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.attribution import AttributionConfig
from toolkit.experiments.attribution.claims import claims
from toolkit.experiments.attribution.measure import AttributionFound, measure
from toolkit.experiments.attribution.page import page
from toolkit.experiments.attribution.tables import in_words, strongest_edges
from toolkit.reports.findings import Findings, Table, written
from toolkit.reports.graph_page import LatentNotes
from toolkit.settings.findings import FindingsOutput
from toolkit.statistics.verdicts import judge

Tables = Callable[[str], Table]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attribution")


@pytest.fixture(scope="module")
def settings(folder: Path) -> AttributionConfig:
    return AttributionConfig(
        prompt="Tom has 24 cows. Wait", tested_edges=40, example_tokens=200, output=FindingsOutput(out=folder)
    )


@pytest.fixture(scope="module")
def found(settings: AttributionConfig, adapter_run: AdapterRun) -> AttributionFound:
    return measure(settings, adapter_run)


@pytest.fixture(scope="module")
def findings(settings: AttributionConfig, adapter_run: AdapterRun, found: AttributionFound) -> Findings:
    return page(settings, adapter_run, found)


@pytest.fixture
def table(findings: Findings) -> Tables:
    """The table whose title begins like this."""
    return lambda title: next(each for each in findings.tables if each.title.startswith(title))


def data_of(page: Path) -> Any:
    text = page.read_text(encoding="utf-8")
    start = text.index('id="data">') + len('id="data">')
    return json.loads(text[start : text.index("</script>", start)])


def test_the_graphs_lie_beside_the_page(findings: Findings, found: AttributionFound, folder: Path) -> None:
    assert findings.facts["graph"] == str(folder / "graph.html")
    graph = json.loads((folder / "graph.json").read_text())
    assert len(graph["nodes"]) == found.graph.n_nodes
    assert len(graph["links"]) == len(found.graph.edges)
    listed = json.loads((folder / "graph-metadata.json").read_text())["graphs"]
    assert [each["slug"] for each in listed] == ["graph", "graph_hybrid"]
    assert [each["scan"] for each in listed] == ["adapter", "hybrid"]
    findings.save(folder)
    written = json.loads((folder / "written.json").read_text())["files"]
    assert {
        "graph.html",
        "graph.json",
        "graph_hybrid.json",
        "graph-metadata.json",
        "attribution.html",
    } <= written.keys()


def test_the_page_of_graphs_shows_what_latents_promote_and_fire_on(findings: Findings, found: AttributionFound) -> None:
    data = data_of(Path(findings.facts["graph"]))
    assert [each["model"] for each in data["graphs"]] == ["adapter", "hybrid"]
    latents = {f"{layer}/{index}" for layer, _, index in found.graph.latents.tolist()}
    assert data["notes"].keys() == latents
    assert all(note["promoted"] for note in data["notes"].values())
    examples = [example for note in data["notes"].values() for example in note["examples"]]
    assert examples
    for tokens, activations, peak, _ in examples:
        assert len(tokens) == len(activations)
        assert activations[peak] > 0


def test_strongest_edges_are_told_in_words() -> None:
    shown = strongest_edges(tiny_graph(), 0, {(1, 3): LatentNotes(promoted=[(" let", 3.0)])})
    assert shown.title == "What made “ let”"
    assert [(row[0], *written(row[1])) for row in shown.rows] == [
        ("latent 1/3 at “ Wait”, position 4, promotes “ let”", "3.00", "66.7 %"),
        ("latent 1/9 at “ Wait”, position 4", "-1.00", "22.2 %"),
        ("the biases", "0.500", "11.1 %"),
    ]
    assert in_words(tiny_graph(), 4) == "the word “ 24”, position 1"
    assert in_words(tiny_graph(), 10) == "next token “\n”"


def test_sums_of_edges_are_the_completeness(table: Tables, found: AttributionFound) -> None:
    first, hybrid = table("How complete").rows[:2]
    graph = found.graph
    assert first[1] == "adapter"
    value, latents, tokens, biases = (float(str(cell)) for cell in first[3:7])
    assert (latents + tokens + biases) / value == pytest.approx(float(graph.completeness()[graph.first_token]))
    assert hybrid[1] == "hybrid"
    assert hybrid[4] == 0
    assert float(str(hybrid[5])) != 0  # its edges are chosen by what the adapter says


def test_every_way_of_testing_edges_is_told_beside_its_control(table: Tables, found: AttributionFound) -> None:
    rows = {str(row[0]).split(":")[0]: row for row in table("Edges tested").rows}
    assert rows.keys() == {
        "free",
        "free, edges into next tokens",
        "free, edges into latents",
        "held",
        "frozen",
        "control",
    }
    assert rows["free"][1] == found.tests.agreement["free"].slope
    assert rows["frozen"][1] == pytest.approx(1)
    assert len(table("Tested edges").rows) == 40


def test_results_hold_the_named_figures(findings: Findings, found: AttributionFound) -> None:
    assert {"identity_error", "interventions", "completeness", "seconds", "alike"} <= findings.results.keys()
    assert {"slope", "r", "n"} <= findings.results["interventions"].keys()
    assert findings.results["identity_error"] == found.graph.identity_error
    assert 0 <= findings.results["alike"]["shuffled_share"] <= 1


def test_a_claim_fails_where_edges_predict_no_better_than_others(found: AttributionFound) -> None:
    tests = found.tests
    assert len(claims(tests)) == 2
    nothing = replace(tests.agreement["free"], r=tests.shuffled.r, slope=tests.shuffled.slope)
    no_better = replace(
        tests,
        agreement={**tests.agreement, "free": nothing},
        beyond_shuffled=replace(tests.beyond_shuffled, value=-0.01),
    )
    assert not any(verdict.shows for verdict in judge(claims(no_better)))
    assert math.isfinite(tests.beyond_shuffled.value)
