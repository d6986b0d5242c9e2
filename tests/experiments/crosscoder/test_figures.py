import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toolkit.experiments.crosscoder.figures import cosine_against_nrn, firing_histogram, nrn_histogram, training_curves
from toolkit.formatting import compact
from toolkit.statistics.estimates import Estimate

TENTHS = [0, 1, 4, 72, 879, 891, 97, 10, 4, 0]  # alive latents in each tenth of the NRN axis


@pytest.fixture
def nrn() -> np.ndarray:
    """The NRN of 1,958 alive latents, on made-up data."""
    within = np.random.default_rng(0).uniform(0.001, 0.099, sum(TENTHS))
    return np.repeat(np.arange(10), TENTHS) / 10 + within


def bar_heights(axes: Axes) -> list[float]:
    return [bar.get_height() for bar in axes.containers[0]]


def texts(axes: Axes) -> str:
    return " | ".join(text.get_text() for text in axes.texts)


def test_nrn_histogram_counts_every_alive_latent_in_its_bin(nrn: np.ndarray) -> None:
    axes = nrn_histogram(nrn, Estimate(0.503, 0.501, 0.505)).axes[0]
    assert np.reshape(bar_heights(axes), (10, 2)).sum(axis=1).tolist() == TENTHS
    assert [bar.get_x() for bar in axes.containers[0]] == pytest.approx(np.arange(20) / 20)
    assert "n = 1,958" in axes.get_title(loc="left")
    assert "mean 0.5030\n95 % CI 0.5010 to 0.5050" in texts(axes)
    counts = [compact(int(count)) for count in bar_heights(axes) if count]
    assert " | ".join(counts) in texts(axes)


def test_nrn_histogram_marks_the_neutral_point() -> None:
    axes = nrn_histogram(np.linspace(0, 1, 50), Estimate(0.503, 0.501, 0.505), neutral=0.484).axes[0]
    (mark,) = [line for line in axes.lines if line.get_label() == "neutral"]
    assert mark.get_xdata() == [0.484, 0.484]
    assert "neutral 0.484" in texts(axes)


def test_nrn_histogram_has_a_bin_for_both_ends_and_none_for_nan() -> None:
    axes = nrn_histogram(np.array([0.0, 1.0, np.nan])).axes[0]
    assert bar_heights(axes) == [1, *[0] * 18, 1]
    assert "n = 2" in axes.get_title(loc="left")


def test_cosine_against_nrn_draws_the_latents_that_have_both() -> None:
    cosine = np.array([0.9, np.nan, 0.2, 0.5])
    nrn = np.array([0.5, 0.0, 0.8, 0.4])
    rate = np.array([0.01, 0.1, 0.001, 0.0])
    axes = cosine_against_nrn(cosine, nrn, rate, np.linspace(-1, 1, 2001)).axes[0]
    points = axes.collections[0]
    assert sorted(map(tuple, points.get_offsets().tolist())) == [(0.5, 0.9), (0.8, 0.2)]
    assert sorted(points.get_array()) == [0.001, 0.01]
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.y0, band.y1) == pytest.approx((-0.95, 0.95))


def test_training_curves_show_every_step_of_a_short_run() -> None:
    records = [
        {"tokens": 100, "loss": 9.0, "fve": [0.5, 0.4], "l0": 30.0, "dead_share": 0.0},
        {"tokens": 200, "loss": 4.0, "fve": [0.9, 0.8], "l0": 14.0, "dead_share": 0.1},
    ]
    loss, explained, l0, dead = training_curves(records, ("A", "B")).axes
    assert loss.lines[0].get_xydata().tolist() == [[100, 9], [200, 4]]
    assert [line.get_ydata().tolist() for line in explained.lines] == [[0.5, 0.9], [0.4, 0.8]]
    assert [line.get_label() for line in explained.lines] == ["A 0.900", "B 0.800"]
    assert l0.lines[0].get_ydata().tolist() == [30, 14]
    assert dead.lines[0].get_ydata().tolist() == [0, 0.1]


def test_training_curves_of_a_long_run_are_means_of_neighbours() -> None:
    records = [
        {"tokens": step, "loss": 1 + step % 2, "fve": [0.9], "l0": 1.0, "dead_share": 0.0} for step in range(800)
    ]
    loss = training_curves(records, ("A",)).axes[0].lines[0]
    assert loss.get_xdata().tolist() == [2 * pair + 0.5 for pair in range(400)]
    assert set(loss.get_ydata()) == {1.5}


def test_firing_histogram_bins_by_fifths_of_a_decade_and_counts_the_silent() -> None:
    rates = np.array([0.0, 0.0, 0.001, 0.0011, 0.5, 1.0])
    axes = firing_histogram(rates).axes[0]
    heights = bar_heights(axes)
    assert len(heights) == 15
    assert (heights[0], heights[-2], heights[-1], sum(heights)) == (2, 1, 1, 4)
    assert axes.get_xlim() == pytest.approx((0.001, 1))
    assert "2 of 6 never fire" in texts(axes)


@pytest.mark.parametrize("n", [0, 1])
def test_figures_of_nothing_and_of_one_latent_can_be_saved(n: int, tmp_path) -> None:
    some, record = np.full(n, 0.5), {"tokens": 1, "loss": 2.0, "fve": [-0.3], "l0": 0.0, "dead_share": 1.0}
    drawn = [
        nrn_histogram(some, Estimate(np.nan, np.nan, np.nan)),
        cosine_against_nrn(some, some, some, np.zeros(0)),
        training_curves([record], ("A",)),
        firing_histogram(some),
    ]
    for figure in drawn:
        figure.savefig(tmp_path / "figure.png")
    histogram, scatter, curves, firing = (figure.axes[0] for figure in drawn)
    assert sum(bar_heights(histogram)) == sum(bar_heights(firing)) == n
    assert len(scatter.collections[0].get_offsets()) == n
    assert curves.lines[0].get_xydata().tolist() == [[1, 2]]


def test_no_figure_is_left_with_pyplot() -> None:
    assert isinstance(firing_histogram(np.full(3, 0.5)), Figure)
    assert plt.get_fignums() == []
