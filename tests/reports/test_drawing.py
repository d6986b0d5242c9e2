from pathlib import Path

from matplotlib.image import imread

from toolkit.reports.drawing import WIDTH, blank, nrn_axis, percent_tick, save_pngs


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
