"""A page to read attribution graphs in: nodes by layer and position, edges by strength, and what made each node.

It is one file that loads nothing. Graphs of one prompt stand side by side with their positions aligned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from toolkit.attribution.graph import AttributionGraph
from toolkit.attribution.supernodes import Supernodes
from toolkit.outputs import GRAPHS, OutputFolder
from toolkit.reports.latent_browser import Example, example_data, lens_data, script_safe, short
from toolkit.reports.page import render


@dataclass(frozen=True, kw_only=True)
class ShownGraph:
    """A graph, and which of its latents are alike."""

    graph: AttributionGraph
    supernodes: Supernodes | None = None


@dataclass(frozen=True, kw_only=True)
class LatentNotes:
    """What is known of a latent beside its edges."""

    examples: Sequence[Example] = ()
    """The strongest first."""
    promoted: Sequence[tuple[str, float]] = ()
    """Tokens that its decoder row raises most, with their logits."""
    suppressed: Sequence[tuple[str, float]] = ()


def write_graph_page(
    folder: Path,
    graphs: Sequence[ShownGraph],
    *,
    title: str,
    question: str,
    facts: Mapping[str, str],
    notes: Mapping[tuple[int, int], LatentNotes] | None = None,
) -> Path:
    """Write `graph.html` into `folder`, and return its path.

    graphs: at least one; the page opens with the first two. facts: what was measured on what. notes: what is known of
    latents, by layer and index; those that stand in no graph are left out.
    """
    assert graphs, "a page needs a graph"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "graph.html"
    named = {(layer, index) for each in graphs for layer, _, index in each.graph.latents.tolist()}
    known = {latent: note for latent, note in (notes or {}).items() if latent in named}
    data = {
        "graphs": [_graph(each) for each in graphs],
        "notes": {f"{layer}/{index}": _notes(note) for (layer, index), note in known.items()},
    }
    html = render("graph_page.html", title=title, question=question, facts=facts, data=script_safe(data))
    with OutputFolder(folder, (GRAPHS,)).writing(path.name):
        path.write_text(html, encoding="utf-8")
    return path


def _graph(shown: ShownGraph) -> dict[str, Any]:
    """A graph as its script takes it: numbers of nodes are those of `AttributionGraph`."""
    graph, alike = shown.graph, shown.supernodes
    return {
        "model": graph.model,
        "tokens": list(graph.tokens),
        "layers": graph.n_layers,
        "threshold": graph.node_threshold,
        "latents": graph.latents.tolist(),
        "activations": _numbers(graph.activations),
        "influence": _numbers(graph.influence),
        "values": _numbers(graph.target_values),
        "logits": [*zip(graph.logit_ids, graph.logit_tokens, map(short, graph.probabilities), strict=True)],
        "sources": graph.edges[:, 0].tolist(),
        "targets": graph.edges[:, 1].tolist(),
        "weights": _numbers(graph.weights),
        "groups": [] if alike is None else [*zip(alike.names(graph), alike.groups, strict=True)],
    }


def _numbers(values: Tensor) -> list[float | None]:
    return [short(value) for value in values.tolist()]


def _notes(notes: LatentNotes) -> dict[str, Any]:
    return {
        "examples": [example_data(each) for each in notes.examples],
        "promoted": [*lens_data(notes.promoted)],
        "suppressed": [*lens_data(notes.suppressed)],
    }
