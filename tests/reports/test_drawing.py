import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from toolkit.reports.drawing import PALETTE, WIDTH, bars, blank, inline_svg, percent_tick, save_pngs, stacked
from toolkit.reports.figures import effect_by_fraction, length_bins, length_histogram
from toolkit.statistics.estimates import Estimate


def histogram() -> Figure:
    edges = length_bins(8)
    return length_histogram(np.arange(len(edges) - 1), edges)


def curves() -> Figure:
    arms = {"selected": [Estimate(-1.0, -2.0, 0.0), Estimate(-2.0, -3.0, -1.0)]}
    return effect_by_fraction([0.005, 0.2], {"base": arms, "distilled": arms}, "effect")


def test_a_blank_figure_shows_its_title_and_only_the_axes_that_carry_a_scale() -> None:
    figure, axes = blank(2.0, "a title")
    assert figure.get_size_inches().tolist() == [WIDTH, 2.0]
    assert axes.get_title(loc="left") == "a title"
    assert {side for side, spine in axes.spines.items() if spine.get_visible()} == {"left", "bottom"}


def test_ticks_are_percentages() -> None:
    assert [percent_tick(share) for share in (0.005, 0.02, 1.0)] == ["0.5 %", "2 %", "100 %"]


def test_pngs_are_written_on_white(tmp_path: Path) -> None:
    save_pngs(tmp_path / "new" / "figures", {"one": blank(2.0, "one")[0], "two": blank(1.0, "two")[0]})
    pixels = imread(tmp_path / "new" / "figures" / "two.png")
    assert pixels.shape[:2] == (200, 840)
    assert (pixels[0, 0] == 1).all()
    assert (tmp_path / "new" / "figures" / "one.png").exists()


def test_stacked_axes_share_the_axis_below() -> None:
    figure, rows = stacked(3, 1.0)
    assert figure.get_size_inches().tolist() == [WIDTH, 3.5]
    rows[0].set_xlim(2, 5)
    assert [axes.get_xlim() for axes in rows] == [(2, 5)] * 3


def test_bars_stand_on_their_edges_a_little_apart() -> None:
    _, axes = blank(2.0, "bars")
    drawn = bars(axes, np.array([1.0, 2.0, 4.0]), np.array([3, 0]))
    found = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in drawn]
    np.testing.assert_allclose(found, [(1, 0.92, 3), (2, 1.84, 0)])


def test_text_stays_text_and_colours_follow_the_page() -> None:
    svg = inline_svg(histogram(), "lengths", "the caption")
    assert "texts</text>" in svg
    assert "var(--first)" in svg
    assert "var(--ink)" in svg
    assert not [light for light, _ in PALETTE.values() if light in svg]


def test_two_figures_share_no_id_and_every_reference_is_met() -> None:
    first = inline_svg(histogram(), "lengths", "the caption")
    second = inline_svg(curves(), "curves", "the caption")
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert not ids[0] & ids[1]
    for own, svg in zip(ids, (first, second), strict=True):
        references = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
        assert references
        assert references <= own


def test_the_same_figure_gives_the_same_well_formed_bytes() -> None:
    svg, again = (inline_svg(histogram(), "lengths", "the caption") for _ in range(2))
    assert svg == again
    root = ElementTree.fromstring(svg.replace("xlink:", ""))
    assert root.attrib["viewBox"] == "0 0 302.4 158.4"
    assert root.attrib["aria-label"] == "the caption"


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("role", ["ink", "muted", "first", "second", "third", "fourth"])
def test_text_can_be_read_on_paper_in_both_themes(role: str, theme: int) -> None:
    assert contrast(PALETTE[role][theme], PALETTE["paper"][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("role", ["ink", "muted"])
def test_text_can_be_read_on_bands_too(role: str, theme: int) -> None:
    assert contrast(PALETTE[role][theme], PALETTE["band"][theme]) >= 4.5
