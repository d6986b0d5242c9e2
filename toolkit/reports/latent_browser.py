"""A page to look through latents: a list to sort and search, and for each latent what it fires on and promotes.

It needs no server and no network. The list is in the page; what is known of single latents is in it too where that is
little, and else in files beside it, loaded when a latent is opened.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from toolkit.outputs import BROWSER, OutputFolder
from toolkit.reports.page import render
from toolkit.terminal_text import harmless

SHARD = 64  # latents a file
INLINE_BYTES = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Example:
    """A stretch of text in which a latent fires."""

    tokens: Sequence[str]
    activations: Sequence[float]
    """One a token, in the units by which examples are ranked."""
    peak: int
    """Index of the token with the largest."""
    document: str
    """Where it is from."""


Kind = Literal["text", "count", "thousandths", "percent", "number"]
"""How a statistic is written: as it is, as a whole number, with three places, in percent, or with three digits."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A statistic that every latent has."""

    key: str
    """Its name in the data, in the addresses of views, and in conditions of a search."""
    title: str
    """Its name for a reader."""
    kind: Kind = "number"
    listed: bool = True
    """Whether the list has it; a statistic that is not in the list is shown where its latent is opened."""


@dataclass(frozen=True, kw_only=True)
class LatentEntry:
    """All that the browser shows of one latent."""

    latent: int | str
    """What it is called."""
    statistics: Mapping[str, str | int | float]
    """By the keys of the browser's columns; NaN where one was not measured."""
    examples: Sequence[Example]
    """The strongest first."""
    quantile_samples: Sequence[tuple[str, Sequence[Example]]]
    """Samples from ranges of its activation, each with the range's name."""
    promoted: Mapping[str, Sequence[tuple[str, float]]]
    """Model to the tokens that its decoder row raises most, with their logits."""
    suppressed: Mapping[str, Sequence[tuple[str, float]]]


@dataclass(frozen=True, kw_only=True)
class BrowserFacts:
    """What stands over the list and under it, and which statistics the list has."""

    title: str
    subtitle: str
    facts: Mapping[str, str]
    """What was measured on what."""
    columns: Sequence[Column]
    sort: str
    """Key of the column that the list is sorted by when the page opens, largest first."""
    hint: str
    """What may be searched for."""


def lift_columns(categories: Iterable[str]) -> list[Column]:
    """The columns of latents' lifts for categories: P(fires | category) / P(fires)."""
    return [Column(key=f"lift:{category}", title=f"lift: {category}") for category in categories]


def write_browser(folder: Path, latents: Iterable[LatentEntry], about: BrowserFacts) -> Path:
    """Write `latents.html` into `folder`, and return its path; many latents go to `latents/*.js` beside it.

    Latents are taken one at a time, so that they need not be in memory together.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "latents.html"
    with OutputFolder(folder, (BROWSER,)).writing(page.name):
        page.write_text(_page(folder / "latents", latents, about), encoding="utf-8")
    return page


def _page(folder: Path, latents: Iterable[LatentEntry], about: BrowserFacts) -> str:
    """Write what is known of single latents into `folder` where it is much; return the page's HTML."""
    shards = _Shards(folder)
    columns: dict[str, list[Any]] = {name: [] for name in ("latent", *(each.key for each in about.columns), "text")}
    for latent in latents:
        for name, value in _row(latent).items():
            columns[name].append(value)
        shards.add(script_safe(_detail(latent)))
    inline = shards.finish()
    assert len({len(values) for values in columns.values()}) == 1, "every latent has all statistics"
    data = {"described": [asdict(each) for each in about.columns], "sort": about.sort, "columns": columns}
    return render(
        "latent_browser.html",
        title=about.title,
        question=about.subtitle,
        facts=about.facts,
        hint=about.hint,
        data=script_safe(data | {"shard": SHARD, "inline": inline is not None}),
        shards=inline or [],
    )


@dataclass
class _Shards:
    """Details in files of `SHARD` latents, or held back as long as they fit into the page."""

    folder: Path
    latents: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    n_written: int = 0

    def add(self, detail: str) -> None:
        self.latents.append(detail)
        if len(self.latents) == SHARD:
            self._close()
            if self.n_written or sum(map(len, self.held)) > INLINE_BYTES:
                self._write()

    def finish(self) -> list[str] | None:
        """Return the shards if they are for the page, None if they are in files; another page's files go."""
        self._close()
        if self.n_written:
            self._write()
        for old in self.folder.glob("[0-9][0-9][0-9][0-9].js"):
            if int(old.stem) >= self.n_written:
                old.unlink()
        return None if self.n_written else self.held

    def _close(self) -> None:
        if self.latents:
            self.held.append(f"[{','.join(self.latents)}]")
            self.latents = []

    def _write(self) -> None:
        self.folder.mkdir(exist_ok=True)
        for shard in self.held:
            path = self.folder / f"{self.n_written:04d}.js"
            path.write_text(f"receive({self.n_written},{shard});\n", encoding="utf-8")
            self.n_written += 1
        self.held = []


def _row(latent: LatentEntry) -> dict[str, Any]:
    peaks = (example.tokens[example.peak] for example in latent.examples)
    promoted = (token for tokens in latent.promoted.values() for token, _ in tokens)
    statistics = latent.statistics.items()
    return {
        "latent": latent.latent,
        **{name: short(value) if isinstance(value, float) else value for name, value in statistics},
        "text": " ".join(dict.fromkeys(token.strip(" ") for token in (*peaks, *promoted))),
    }


def _detail(latent: LatentEntry) -> dict[str, Any]:
    return {
        "examples": [*map(example_data, latent.examples)],
        "samples": [(label, [*map(example_data, examples)]) for label, examples in latent.quantile_samples],
        "promoted": {model: [*lens_data(tokens)] for model, tokens in latent.promoted.items()},
        "suppressed": {model: [*lens_data(tokens)] for model, tokens in latent.suppressed.items()},
    }


def example_data(example: Example) -> list[Any]:
    """What the script that shows an example takes."""
    assert len(example.tokens) == len(example.activations), "one activation a token"
    return [list(example.tokens), [*map(short, example.activations)], example.peak, example.document]


def lens_data(tokens: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float | None]]:
    """What the script that shows promoted tokens takes."""
    return ((token, short(logit)) for token, logit in tokens)


def short(value: float) -> float | None:
    """Four digits are more than a reader sees; JSON has no NaN."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def script_safe(content: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return harmless(text).replace("<", "\\u003c")
