"""A matplotlib figure as SVG that belongs to the page: its theme, its font, its names."""

import io
from dataclasses import dataclass
from html import escape

import matplotlib
from matplotlib.figure import Figure

from toolkit.reports.theme import PALETTE

POINTS_PER_INCH = 72


@dataclass(frozen=True)
class Drawing:
    """A figure as it was drawn once, in the light theme's colours."""

    svg: str
    """Elements without the root."""
    width: float
    """In points."""
    height: float


def draw(figure: Figure) -> Drawing:
    """Draw a figure; the same figure gives the same bytes."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "figure"}):
        figure.savefig(buffer, format="svg", transparent=True, dpi=200, metadata={"Date": None})
    svg = buffer.getvalue()
    width, height = figure.get_size_inches() * POINTS_PER_INCH
    # What comes before names a DTD, a date and a fixed size.
    return Drawing(svg[svg.index("<defs") :], float(width), float(height))


def inline_svg(figure: Figure | Drawing, name: str, label: str) -> str:
    """Return `figure` as an SVG element for inline use.

    Text stays text, colours become the page's CSS variables, and every id begins with `name`, so that several
    figures live in one document; `name` is of letters, digits, - and _ alone. `label` is what a screen reader says.
    The same figure gives the same bytes.
    """
    drawn = figure if isinstance(figure, Drawing) else draw(figure)
    drawing = drawn.svg
    for role, (light, _) in PALETTE.items():
        drawing = drawing.replace(light, f"var(--{role})")
    for mark in (' id="', "url(#", 'href="#'):
        drawing = drawing.replace(mark, f"{mark}{name}-")
    return f'<svg viewBox="0 0 {drawn.width:g} {drawn.height:g}" role="img" aria-label="{escape(label)}">\n{drawing}'
