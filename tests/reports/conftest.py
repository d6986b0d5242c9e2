"""A report and findings whose numbers are known, and a reader of pages."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from toolkit.reports.findings import Headline, Table
from toolkit.reports.run_report import RunReport
from toolkit.statistics import Estimate

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Reader(HTMLParser):
    """Collects the words of a page and checks that its tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def read() -> Callable[[Path], Reader]:
    """Read a page, and check that nothing is left open."""

    def read_page(page: Path) -> Reader:
        reader = Reader()
        reader.feed(page.read_text(encoding="utf-8"))
        assert reader.open == []
        return reader

    return read_page


TENTHS = [0, 1, 4, 72, 879, 891, 97, 10, 4, 0]  # alive latents in each tenth of the NRN axis


@pytest.fixture
def report() -> RunReport:
    """The report of 2,048 latents, of which 90 are dead, on made-up data."""
    chance = np.random.default_rng(0)
    n_alive, n_latents = sum(TENTHS), 2048
    nrn = np.full(n_latents, 0.5)
    nrn[:n_alive] = np.repeat(np.arange(10), TENTHS) / 10 + chance.uniform(0.001, 0.099, n_alive)
    alive = np.arange(n_latents) < n_alive
    firing_rate = np.where(alive, 10 ** chance.uniform(-4, -1, n_latents), 0.0)
    steps = range(1, 901)
    return RunReport(
        title="Crosscoder of <two> models",
        pair="base → distilled, input of layer 3",
        data="corpus & more",
        command="python recipes/train_crosscoder.py --seed 0",
        load_pair='ModelPair.from_pretrained("organism")',
        versions={"torch": "2.13.0"},
        settings={"k": 14, "data": ("reasoning", "general")},
        streams=("base", "distilled"),
        headline=[
            Headline(name="FVE, base", value=Estimate(0.97312, 0.9718, 0.9744), n=40960, unit="tokens"),
            Headline(name="tokens", value=1024000, note="all that were <kept>"),
        ],
        firing_rate=firing_rate,
        alive=alive,
        nrn=nrn,
        cosine=chance.uniform(0.6, 1, n_latents),
        cosine_null=chance.normal(0, 0.08, 500),
        nrn_mean=Estimate(0.503, 0.501, 0.505),
        records=[
            {"step": step, "tokens": step * 1000, "loss": 300 / step, "fve": [1 - 1 / step, 1 - 2 / step],
             "l0": 14.0, "dead_share": 0.044}
            for step in steps
        ],
        masks={"kept": 900, "position 0": 100},
        seconds={"train": 75.0, "evaluate": 25.0},
        behaviours=Table(
            title="Behaviours", columns=["label", "latent", "AUROC", "n tokens"],
            rows=[["self-<reflection>", "1032", Estimate(0.941, 0.92, 0.96), 1840]],
            note="Control: labels moved by half a document.",
        ),
    )  # fmt: skip
