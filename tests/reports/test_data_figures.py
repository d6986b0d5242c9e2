import numpy as np
import pytest

from toolkit.reports.data_figures import estimates_by_name, length_bins, length_histogram
from toolkit.statistics import Estimate


@pytest.mark.parametrize("longest", [1, 2, 3, 1000, 1024, 1025])
def test_bins_reach_just_beyond_the_longest(longest):
    edges = length_bins(longest)
    assert edges[0] == 1
    assert edges[-2] <= longest < edges[-1]
    np.testing.assert_allclose(edges[1:] / edges[:-1], 2**0.25)


def test_every_document_is_in_one_bar():
    lengths = np.array([5, 6, 40, 41, 41, 1024])
    edges = length_bins(1024)
    axes = length_histogram(np.histogram(lengths, edges)[0], edges).axes[0]
    assert axes.get_title(loc="left") == "Tokens of a text (n = 6)"
    heights = {round(bar.get_x()): bar.get_height() for bar in axes.patches if bar.get_height()}
    assert sum(heights.values()) == 6
    assert heights[1024] == 1
    assert axes.get_xlim()[0] <= 5
    assert axes.get_xlim()[1] > 1024


def test_each_estimate_has_a_line_with_its_name_and_interval():
    estimates = {"base": Estimate(2.0, 1.5, 2.5), "distilled": Estimate(1.0)}
    axes = estimates_by_name(estimates, "Bits", "bits per byte").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["base", "distilled"]
    bars, points = axes.lines[::2], axes.lines[1::2]
    assert [list(bar.get_xdata()) for bar in bars] == [[1.5, 2.5], []]
    assert [(point.get_xdata()[0], point.get_ydata()[0]) for point in points] == [(2.0, 0), (1.0, 1)]
    assert axes.yaxis_inverted()
