"""Lines by layer, each panel over its own x-axis."""

from toolkit.reports.adapter_figures import Panel, line_panels
from toolkit.reports.drawing import MUTED
from toolkit.statistics.estimates import Estimate


def test_lines_have_their_names_and_controls_are_grey() -> None:
    rising, flat = ([Estimate(value, value - 0.1, value + 0.1) for value in each] for each in ((0.0, 1.0), (0.5, 0.5)))
    panels = [
        Panel(title="KL", xlabel="layers", x=range(2), lines={"adapter": rising, "hybrid": flat}, controls=["hybrid"]),
        Panel(title="recovered", xlabel="L0", x=[0.5, 3.2], lines={"recovered": rising}),
    ]
    upper, lower = line_panels(panels).axes
    assert (upper.get_xlabel(), lower.get_xlabel()) == ("layers", "L0")
    adapter, hybrid = upper.get_lines()
    assert [each.get_text() for each in upper.get_legend().get_texts()] == ["adapter", "hybrid"]
    assert hybrid.get_color() == MUTED != adapter.get_color()
    assert list(lower.get_lines()[0].get_xdata()) == [0.5, 3.2]
    assert lower.get_legend() is None
