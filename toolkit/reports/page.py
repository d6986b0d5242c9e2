"""The run as one HTML file that needs no network: the numbers, the figures, then how they came about."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from toolkit.reports import figures
from toolkit.reports.formatting import duration, interval, number, percent
from toolkit.reports.run_report import BehaviourRow, Headline, RunReport
from toolkit.reports.svg import inline_svg
from toolkit.reports.theme import style_sheet

CAPTIONS = {
    "nrn_histogram": "Each alive latent has one decoder row in each model; NRN is the distilled row's share "
    "of their summed norms. At 0 only the base model has the latent, at .5 both have it alike, at 1 only the "
    "distilled model. Numbers over the bars count latents; the line is the mean, the band its 95&nbsp;% "
    "interval.",
    "cosine_against_nrn": "One dot a latent. High and in the middle: both models write the same direction. "
    "At the sides, or inside the grey band that holds 95&nbsp;% of randomly paired latents: the direction "
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
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    drawn = draw_figures(report)
    for name, figure in drawn.items():
        figure.savefig(folder / "figures" / f"{name}.png", dpi=200, facecolor=figures.PAPER)
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
    title, origin = escape(report.title), {"models": report.pair, "data": report.data}
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style_sheet()}</style>
</head>
<body>
<main>
<header><h1>{title}</h1><p class="pair">{escape(report.pair)}</p></header>
{_headline(report.headline)}
{_behaviours(report.behaviours, report.behaviours_note) if report.behaviours else ""}
{_section("Figures", f'<div class="figures">{"".join(map(_figure, drawn, drawn.values()))}</div>')}
<div class="columns">
{_section("Where the time went", _shares(report.seconds, "stage", duration))}
{_section("Tokens kept and dropped", _shares(report.masks, "tokens", number))}
</div>
{_section("Where it came from", _pairs(origin), _code(report.command))}
{_section("Load it", _code(_loading(report.load_pair, folder)))}
<div class="columns">
{_section("Settings", _pairs(report.settings))}
{_section("Versions", _pairs(report.versions))}
</div>
</main>
</body>
</html>
"""


def _section(title: str, *content: str) -> str:
    return f"<section><h2>{title}</h2>\n{''.join(content)}</section>"


def _headline(rows: Sequence[Headline]) -> str:
    return f'<dl class="headline">\n{"".join(map(_headline_entry, rows))}</dl>'


def _headline_entry(row: Headline) -> str:
    ends = interval(row.low, row.high)
    details = [
        f"95 % CI {ends}" if ends else "",
        f"n = {row.n:,} {row.unit}".strip() if row.n is not None else row.unit,
        row.note,
    ]
    lines = "".join(f"<small>{escape(text)}</small>" for text in details if text)
    return f"<div><dt>{escape(row.name)}</dt><dd><b>{number(row.value)}</b>{lines}</dd></div>\n"


def _behaviours(rows: Sequence[BehaviourRow], note: str) -> str:
    head = ("behaviour", "best latent", "AUROC", "95 % CI", "control", "NRN", "fires on", "n tokens")
    cells = [
        (
            row.behaviour, str(row.latent), number(row.auroc), interval(row.low, row.high),
            number(row.control_auroc), number(row.nrn), percent(row.firing_rate), f"{row.n_tokens:,}",
        )
        for row in rows
    ]  # fmt: skip
    how = (
        "How well one latent tells a behaviour's tokens from all others: .5 is chance, 1 perfect. "
        f"n counts the tokens inside the behaviour. {note}"
    )
    return _section("Planted behaviours", _table(head, cells), f"<p>{escape(how)}</p>")


def _figure(name: str, figure: Figure) -> str:
    return f"<figure>{inline_svg(figure, name)}<figcaption>{CAPTIONS[name]}</figcaption></figure>\n"


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


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>\n{lines}</tbody></table></div>'


def _pairs(entries: Mapping[str, object]) -> str:
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(_plain(value))}</dd>\n" for name, value in entries.items())
    return f'<dl class="pairs">\n{lines}</dl>'


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _code(text: str) -> str:
    return f"<pre><code>{escape(text)}</code></pre>"


def _loading(load_pair: str, folder: Path) -> str:
    return (
        "from toolkit import Crosscoder, ModelPair\n"
        f"pair = {load_pair}\n"
        f'latents = Crosscoder.from_pretrained("{folder.as_posix()}").encode(pair.read("Find 25+7."))'
    )
