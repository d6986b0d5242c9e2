"""An attribution graph as findings: its strongest edges in words, its tests, and a page to read the graph in."""

import torch

from toolkit.attribution.circuit_tracer_graph import METADATA, circuit_tracer_graph, write_circuit_tracer_graphs
from toolkit.attribution.supernodes import Supernodes, supernodes
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.attribution import AttributionConfig
from toolkit.experiments.attribution.claims import claims
from toolkit.experiments.attribution.figures import predicted_and_measured
from toolkit.experiments.attribution.measure import AttributionFound
from toolkit.experiments.attribution.notes import graph_latents, latent_notes
from toolkit.experiments.attribution.results import of_supernodes, results
from toolkit.experiments.attribution.tables import (
    agreement_table,
    alike_table,
    completeness_table,
    strongest_edges,
    tested_edges,
)
from toolkit.formatting import duration, percent
from toolkit.outputs import GRAPHS, OutputFolder
from toolkit.reports.findings import Chart, Findings, Headline
from toolkit.reports.graph_page import ShownGraph, write_graph_page
from toolkit.reports.verdicts import verdict_results, verdict_table

SHOWN = 300
"""Characters of the prompt's end among the facts."""
GRAPH = "graph"
"""Stem of the files of graphs."""


def page(settings: AttributionConfig, opened: AdapterRun, found: AttributionFound) -> Findings:
    """What made each of the explained tokens, and how far the graph's edges can be believed.

    Writes the page of graphs, and each graph in circuit-tracer's format, into the settings' folder.
    """
    graph, tests = found.graph, found.tests
    alike = supernodes(graph, torch.Generator().manual_seed(settings.seed))
    facts = _facts(opened, found)
    question = f"What made the model say {', '.join(f'“{token}”' for token in graph.logit_tokens)}?"
    notes = latent_notes(opened, graph_latents(graph), settings.example_tokens)
    _write_graph_files(settings, found, alike)
    graph_page = write_graph_page(
        settings.output.out,
        [ShownGraph(graph=graph, supernodes=alike), *(ShownGraph(graph=each) for each in found.compared.values())],
        title="Attribution graphs",
        question=question,
        facts=facts,
        notes=notes,
    )
    stated = claims(tests)
    into_logits = (tests.edges[:, 1] >= graph.first_logit).numpy()
    return Findings(
        name="attribution",
        title=f"Attribution graph: {opened.facts()['models']}",
        question=question,
        facts={**facts, "graph": str(graph_page)},
        headline=_headline(found),
        tables=[
            strongest_edges(graph, 0, notes),
            agreement_table(tests),
            verdict_table(stated),
            completeness_table(found),
            *(strongest_edges(graph, logit, notes, detail=True) for logit in range(1, len(graph.logit_ids))),
            tested_edges(graph, tests, notes),
            alike_table(graph, alike),
        ],
        charts=[
            Chart(
                name="tested_edges",
                figure=predicted_and_measured(tests.predicted.numpy(), tests.measured["free"].numpy(), into_logits),
                caption="How far each tested edge's target falls when its source latent adds nothing, in the model"
                " as it is, over what the edge says.",
            )
        ],
        claims=stated,
        results=results(found) | {"alike": of_supernodes(alike), "verdicts": verdict_results(stated)},
    )


def _facts(opened: AdapterRun, found: AttributionFound) -> dict[str, str]:
    graph = found.graph
    prompt = "".join(graph.tokens)
    return {
        **opened.facts(),
        "prompt": f"{'…' if len(prompt) > SHOWN else ''}{prompt[-SHOWN:]}",
        "tokens": f"{len(graph.token_ids):,}",
        "latents": f"{len(graph.latents):,} kept of {graph.fired:,} that fired: those with"
        f" {percent(graph.node_threshold)} of the influence, and an edge in and out",
        "edges": f"{len(graph.edges):,} kept: those with {percent(graph.edge_threshold)} of their kind's influence",
        "followed": f"edges into {graph.followed:,} latents were computed; the others have"
        f" {percent(graph.not_followed)} of the influence",
        "computed": f"in {found.precision}, the graph in {duration(found.seconds)}",
    }


def _headline(found: AttributionFound) -> list[Headline]:
    graph, tests = found.graph, found.tests
    free = tests.agreement["free"]
    token, kept = f"“{graph.logit_tokens[0]}”", float(graph.completeness()[graph.first_token])
    return [
        Headline(
            name="slope of tested edges",
            value=free.slope,
            n=free.n,
            unit=f"edges of {free.sources} latents",
            note=f"measured change over predicted; r {free.r.value:.2f}, with predictions of other edges"
            f" {tests.shuffled.r.value:.2f}",
        ),
        Headline(
            name=f"kept edges' sum for {token}",
            value=kept,
            note=f"share of its logit; the token's probability is {percent(graph.probabilities[0])}",
        ),
        Headline(
            name="largest error of a sum of edges",
            value=graph.identity_error,
            n=graph.followed + len(graph.logit_ids),
            unit="latents and tokens",
            note="all edges into each, before any is left out, against its value",
        ),
        Headline(
            name="latents in the graph",
            value=len(graph.latents),
            n=graph.fired,
            unit="firings",
            note=f"on {len(graph.token_ids)} tokens; {len(graph.edges):,} edges",
        ),
    ]


def _write_graph_files(settings: AttributionConfig, found: AttributionFound, alike: Supernodes) -> None:
    """Write each graph in circuit-tracer's format."""
    folder, graph = settings.output.out, found.graph
    named = dict(zip(alike.names(graph), alike.groups, strict=True))
    files = {GRAPH: circuit_tracer_graph(graph, slug=GRAPH, supernodes=named)} | {
        f"{GRAPH}_{name}": circuit_tracer_graph(other, slug=f"{GRAPH}_{name}") for name, other in found.compared.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    with OutputFolder(folder, (GRAPHS,)).writing(*(f"{name}.json" for name in files), METADATA):
        write_circuit_tracer_graphs(folder, files)
