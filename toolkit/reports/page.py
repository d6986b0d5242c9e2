"""The run as one HTML file that needs no network: the numbers, the figures, then how they came about."""

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from toolkit.reports import figures
from toolkit.reports.drawing import save_pngs
from toolkit.reports.formatting import duration, number, percent
from toolkit.reports.markup import (
    code,
    columns,
    document,
    figure_gallery,
    headline_list,
    pairs,
    section,
    table,
)
from toolkit.reports.run_report import RunReport

CAPTIONS = {
    "nrn_histogram": "Each alive latent has one decoder row in each model; NRN is the distilled row's share "
    "of their summed norms. At 0 only the base model has the latent, at .5 both have it alike, at 1 only the "
    "distilled model. Numbers over the bars count latents; the line is the mean, the band its 95\N{NO-BREAK SPACE}% "
    "interval.",
    "cosine_against_nrn": "One dot a latent. High and in the middle: both models write the same direction. "
    "At the sides, or inside the grey band that holds 95\N{NO-BREAK SPACE}% of randomly paired latents: the direction "
    "is one model's own.",
    "training_curves": "Every curve should be flat at the end; the share of variance explained should rise "
    "alike in all models (its scale leaves out the climb of the first steps). Long runs are "
    "thinned to 400 means.",
    "firing_histogram": "Five bars a factor of ten. A healthy dictionary has one hump, few latents that fire "
    "almost always (at the right), and few that never do.",
}


def write_report(folder: Path | str, report: RunReport) -> Path:
    """Write `figures/*.png` and `report.html` into `folder`, and return the page's path.

    The page holds its figures as SVG and follows the reader's light or dark theme; it loads nothing.
    """
    folder = Path(folder)
    drawn = draw_figures(report)
    save_pngs(folder / "figures", drawn)
    page = folder / "report.html"
    page.write_text(render_page(report, drawn, folder), encoding="utf-8")
    return page


def draw_figures(report: RunReport) -> dict[str, Figure]:
    """Draw every figure that the report has data for, by file name; two of them need two models."""
    drawn = {}
    alive = report.alive
    if report.nrn is not None:
        drawn["nrn_histogram"] = figures.nrn_histogram(report.nrn[alive], report.nrn_mean)
    if report.nrn is not None and report.cosine is not None and report.cosine_null is not None:
        drawn["cosine_against_nrn"] = figures.cosine_against_nrn(
            report.cosine[alive], report.nrn[alive], report.firing_rate[alive], report.cosine_null
        )
    drawn["training_curves"] = figures.training_curves(report.records, report.streams)
    drawn["firing_histogram"] = figures.firing_histogram(report.firing_rate)
    return drawn


def render_page(report: RunReport, drawn: Mapping[str, Figure], folder: Path) -> str:
    """Return the page's HTML; all text of the report is escaped."""
    return document(
        report.title,
        report.pair,
        headline_list(report.headline),
        table(report.behaviours) if report.behaviours else "",
        section("Figures", figure_gallery((name, figure, CAPTIONS[name]) for name, figure in drawn.items())),
        columns(
            section("Where the time went", _shares(report.seconds, "stage", duration)),
            section("Tokens kept and dropped", _shares(report.masks, "tokens", number)),
        ),
        section(
            "Where it came from",
            pairs({"models": report.pair, "data": report.data, "documents": report.documents}),
            code(report.command),
        ),
        section("Load it", code(_loading(report.load_pair, folder))),
        columns(section("Settings", pairs(report.settings)), section("Versions", pairs(report.versions))),
    )


def _shares(parts: Mapping[str, int] | Mapping[str, float], head: str, write: Callable[..., str]) -> str:
    """Write a table of parts of a whole, each with its share as a number and as a bar."""
    total = sum(parts.values())
    rows = [(name, write(part), part / total if total else 0.0) for name, part in parts.items()]
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{value}</td><td>{percent(share)}</td>"
        f'<td class="bar"><i style="width:{share:.2%}"></i></td></tr>\n'
        for name, value, share in rows
    )
    return (
        f'<table class="shares"><thead><tr><th>{head}</th><th></th><th>share</th><th></th></tr></thead>'
        f"<tbody>\n{lines}<tr><th>total</th><td>{write(total)}</td><td></td><td></td></tr></tbody></table>"
    )


def _loading(load_pair: str, folder: Path) -> str:
    return (
        "from toolkit import Crosscoder, ModelPair\n"
        f"pair = {load_pair}\n"
        f'latents = Crosscoder.from_pretrained("{folder.as_posix()}").encode(pair.read("Find 25+7."))'
    )
