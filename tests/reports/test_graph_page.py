import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from headless_chromium import clicked, needs_chromium
from tiny_graphs import tiny_graph

from toolkit.attribution.supernodes import Supernodes
from toolkit.reports.graph_page import LatentNotes, ShownGraph, write_graph_page
from toolkit.reports.latent_browser import Example

ABOUT: dict[str, Any] = {
    "title": "Graphs <of> a prompt", "question": "What made “Wait”?", "facts": {"models": "base & distilled"}
}  # fmt: skip
EVIL = "</script><script>document.title='evil'</script>"
Open = Callable[..., str]


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A page of a graph with a group and its latents' notes, and of another without the latent 1/9."""
    alike = Supernodes(
        groups=((1, 2),),
        least_cosine=0.5,
        compared=3,
        share=0.67,
        shuffled_share=0.0,
        one_word=1.0,
        one_word_by_chance=0.5,
    )
    kept = torch.tensor([True] * 4 + [False, True, False, True, True])
    other = tiny_graph("hybrid")
    other = replace(other, edges=other.edges[kept], weights=-other.weights[kept])
    example = Example(tokens=["so ", EVIL, ", then"], activations=[0.0, 8.0, 2.0], peak=1, document="doc 5")
    notes = {
        (1, 3): LatentNotes(examples=[example], promoted=[(" let", 3.0)], suppressed=[(" done", -2.0)]),
        (1, 200): LatentNotes(),
    }
    return write_graph_page(
        tmp_path, [ShownGraph(graph=tiny_graph(), supernodes=alike), ShownGraph(graph=other)], notes=notes, **ABOUT
    )


def words_of(dom: str, start: str = '<div id="view">', end: str = '<div id="tip"') -> str:
    """The words that scripts write."""
    return " ".join(re.sub("<[^>]*>", " ", dom[dom.index(start) : dom.index(end)]).split())


def panels(dom: str) -> list[str]:
    return [words_of(part + "<end>", "", "<end>") for part in dom.split('<section class="panel">')[1:]]


def edges(dom: str) -> int:
    """How many edges are drawn, in all graphs."""
    return len(re.findall(r'<path d="M[\d.]+ [\d.]+C', dom))


def data_of(page: Path) -> dict[str, Any]:
    text = re.search('id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert text
    loaded: dict[str, Any] = json.loads(text.group(1), parse_constant=pytest.fail)
    return loaded


def test_the_data_are_strict_json_with_nodes_edges_and_notes(two: Path) -> None:
    data = data_of(two)
    first, second = data["graphs"]
    assert first["tokens"] == [" So", " 24", " is", ".", " Wait"]
    assert first["latents"] == [[0, 1, 7], [1, 4, 3], [1, 4, 9]]
    assert [*zip(first["sources"], first["targets"], first["weights"], strict=True)][5:7] == [(1, 9, 3.0), (2, 9, -1.0)]
    assert first["logits"] == [[21, " let", 0.75], [22, "\n", 0.125]]
    assert first["groups"] == [["1: 2 of 2 at “ Wait”", [1, 2]]]
    assert (second["model"], second["groups"]) == ("hybrid", [])
    assert data["notes"].keys() == {"1/3"}
    assert data["notes"]["1/3"]["promoted"] == [[" let", 3.0]]


def test_the_page_loads_nothing(two: Path) -> None:
    text = two.read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="|url\(|@import|fetch\(', text)


@needs_chromium
def test_it_opens_with_the_first_next_token_and_what_made_it_in_words(two: Path, open_page: Open) -> None:
    dom = open_page(two)
    adapter, hybrid = panels(dom)
    for said in (
        "next token “ let” position 4 probability 75 % sum of its kept edges 2.50 of 2.75 (90.9 %)"
        " from latents +2.00 from biases +0.500",
        "What made it +3.00 66.7 % latent 1/3 at “ Wait” position 4, promotes “ let”; hybrid −3.00"
        " −1.00 22.2 % latent 1/9 at “ Wait” position 4; hybrid –",
        "+0.500 11.1 % the biases",
        "Back along the strongest edges, by way of latents the word “ Wait” position 4 +1.50 →"
        " latent 1/3 at “ Wait” position 4 +3.00 → next token “ let”",
    ):
        assert said in adapter, said
    assert "−3.00 85.7 % latent 1/3" in hybrid
    assert "latents by influence 80 %: 3 of 3, 3 of 3" in words_of(dom, '<form class="controls"', "</form>")
    assert edges(dom) == 9 + 7
    assert "tokens layer 0 layer 1 next" in adapter


@needs_chromium
def test_a_latent_shows_its_edges_both_ways_and_its_examples(two: Path, open_page: Open) -> None:
    dom = open_page(two, "#node=1/3@4")
    adapter = panels(dom)[0]
    assert "activation 2.00" in adapter
    assert "40 % of the influence" in adapter
    assert "What it acts on +3.00 66.7 % next token “ let” ; hybrid −3.00 +0.250 100 % next token “↵”" in adapter
    text = words_of(dom)
    assert "Latent 1/3, on any text promotes let 3.00 suppresses done -2.00 It fires most on (1) 8.00 so" in text
    assert "<title>Graphs &lt;of&gt; a prompt</title>" in dom


@needs_chromium
def test_a_node_that_one_graph_lacks_is_said_to_be_missing(two: Path, open_page: Open) -> None:
    adapter, hybrid = panels(open_page(two, "#groups=merged&node=1/9@4"))
    assert "group 1: 2 of 2 at “ Wait”" in adapter
    assert "latent 1/9 at “ Wait”" in hybrid
    adapter, hybrid = panels(open_page(two, "#groups=merged&node=group@adapter:0"))
    assert "latents 2" in adapter
    assert "+2.00 80 % next token “ let”" in adapter  # +3 and −1 are one edge
    assert "The chosen node is not among those kept of this graph." in hybrid


@needs_chromium
def test_sliders_leave_out_weak_latents_and_edges(two: Path, open_page: Open) -> None:
    dom = open_page(two, "#cut=.5&node=bias")
    assert "50 %: 2 of 3, 2 of 3" in dom  # 1/3 by its influence, and what the chosen node acts on
    counts = [edges(open_page(two, f"#edges={share}&node=")) for share in (1, 0.5, 0)]
    assert counts == sorted(set(counts))


@needs_chromium
def test_a_reader_follows_edges_by_clicks(two: Path, open_page: Open) -> None:
    follow = "document.querySelector('.edge').click()"
    assert "latent 1/3 at “ Wait” position 4 activation" in panels(open_page(clicked(two, follow)))[0]
    assert "the word “ Wait” position 4 What it acts on" in panels(open_page(clicked(two, follow, follow)))[0]
    node = "document.querySelector('.node.token').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    assert "the word “ So” position 0" in panels(open_page(clicked(two, node)))[0]
    hover = "document.querySelector('{} path').dispatchEvent(new PointerEvent('pointermove', {{bubbles: true}}))"
    for over, said in ((".edges", "of what enters it"), (".node.latent", "activation: 1.5")):
        dom = open_page(clicked(two, hover.format(over)))
        assert said in words_of(dom, '<div id="tip"', "<section><h2>What was")


@needs_chromium
def test_of_three_graphs_any_two_stand_side_by_side(tmp_path: Path, open_page: Open) -> None:
    graphs = [ShownGraph(graph=tiny_graph(name)) for name in ("base", "adapter", "distilled")]
    page = write_graph_page(tmp_path, graphs, **ABOUT)
    choose = (
        "const list = document.querySelector('select[name=right]'); list.value = 2;"
        "list.dispatchEvent(new Event('change'))"
    )
    dom = open_page(clicked(page, choose, "document.title = state().left + ' ' + state().right"))
    assert "<title>0 2</title>" in dom
    assert len(panels(dom)) == 2


@needs_chromium
def test_a_long_prompt_shows_positions_with_nodes_alone(tmp_path: Path, open_page: Open) -> None:
    graph = tiny_graph()
    n = 1000
    more = n - len(graph.tokens)
    positions = graph.latents.clone()
    positions[:, 1] = torch.tensor([600, n - 1, n - 1])
    edges = torch.tensor([[3 + 600, 0], [0, 1], [1, 2 + more + 7]])
    long = replace(
        graph,
        tokens=graph.tokens + ("more",) * more,
        token_ids=graph.token_ids + (1,) * more,
        latents=positions,
        edges=edges,
        weights=torch.ones(3),
        target_values=torch.ones(graph.n_nodes + more),
        influence=torch.cat([graph.influence[:3], torch.zeros(graph.n_nodes + more - 3)]),
    )
    dom = open_page(write_graph_page(tmp_path, [ShownGraph(graph=long)], **ABOUT))
    assert dom.count('class="node token') == 2
    assert dom.count('class="gap"') == 2


@needs_chromium
def test_a_graph_without_latents_is_shown(tmp_path: Path, open_page: Open) -> None:
    graph = tiny_graph("hybrid")
    bare = replace(
        graph,
        latents=graph.latents[:0],
        activations=graph.activations[:0],
        edges=torch.tensor([[1, 6]]),
        weights=torch.tensor([0.5]),
        target_values=graph.target_values[3:],
        influence=graph.influence[3:],
    )
    dom = open_page(write_graph_page(tmp_path, [ShownGraph(graph=bare)], **ABOUT))
    assert "What made it +0.500 100 % the word “ 24” position 1" in panels(dom)[0]
