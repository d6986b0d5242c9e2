from pathlib import Path

import numpy as np
from matplotlib.image import imread

from toolkit.reports.drawing import WIDTH, bars, blank, nrn_axis, percent_tick, save_pngs, stacked


def test_a_blank_figure_shows_its_title_and_only_the_axes_that_carry_a_scale() -> None:
    figure, axes = blank(2.0, "a title")
    assert figure.get_size_inches().tolist() == [WIDTH, 2.0]
    assert axes.get_title(loc="left") == "a title"
    assert {side for side, spine in axes.spines.items() if spine.get_visible()} == {"left", "bottom"}


def test_the_nrn_axis_names_its_ends_and_its_middle() -> None:
    _, axes = blank(2.0, "nrn")
    nrn_axis(axes)
    names = {tick.get_position()[0]: tick.get_text().split("\n")[-1] for tick in axes.get_xticklabels()}
    assert (names[0], names[0.5], names[1]) == ("base only", "shared", "distilled only")


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
