"""Findings whose numbers are known, and a reader of pages."""

import math
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from headless_chromium import opened

from toolkit.formatting import number
from toolkit.reports.figures import effect_matrix
from toolkit.reports.findings import Chart, Findings, Headline, SideBySide, Table, shares_table
from toolkit.statistics.estimates import Estimate

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


@pytest.fixture
def findings() -> Findings:
    """Findings with a piece of every kind."""
    return Findings(
        name="ablation",
        title="Ablation",
        question="What falls when latents go?",
        facts={"models": "base → distilled"},
        headline=[
            Headline(name="fall", value=Estimate(-3.2, -3.6, -2.9), n=100, unit="positions", note="control -0.1")
        ],
        tables=[
            Table(
                title="Effects",
                columns=["category", "distilled", "n"],
                rows=[["deductive", Estimate(-2.0, -2.5, -1.5), 1100]],
                note="95 % intervals",
            ),
            Table(title="Every step", columns=["step"], rows=[["a long list"]], detail=True),
            shares_table("Tokens", ("", "tokens"), {"kept": 900, "position 0": 100}, number),
        ],
        charts=[Chart(name="matrix", figure=effect_matrix(np.eye(2), ["a", "b"], ["a", "b"], "m"), caption="the cap")],
        texts=[SideBySide(title="Texts", labels=("before", "after"), texts=("Wait, no", "So it is"))],
        provenance={
            "command": "python recipes/ablate.py",
            "commit": None,
            "seed": 3,
            "versions": {"torch": "2.13.0"},
        },
        code='run = Run.open("runs/x")',
        results={
            "fall": {"value": -3.2, "ends": (-3.6, math.inf)},
            "unknown": math.nan,
            "n": 100,
            "estimates": [Estimate(0.5), {"open": Estimate(math.nan, -1.0, math.inf)}],
        },
    )


@pytest.fixture
def open_page(tmp_path: Path) -> Callable[..., str]:
    """Open a page in headless Chromium, at a state of its address, and return the text of its document."""
    return lambda page, state="": opened(f"{page.as_uri()}{state}", tmp_path / "profile")
