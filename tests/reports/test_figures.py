from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes

from toolkit.reports.figures import (
    DosePanel,
    LossQuantiles,
    cdf_curves,
    dose_response,
    effect_by_fraction,
    effect_matrix,
    estimates_by_name,
    layer_curves,
    length_bins,
    length_histogram,
    logit_change_histogram,
    nu_histogram,
)
from toolkit.statistics.estimates import Estimate


def estimates(*values: float, half: float = 1.0) -> list[Estimate]:
    return [Estimate(value, value - half, value + half) for value in values]


def labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def band(axes: Axes, index: int = 0) -> Sequence[tuple[float, float]]:
    """The corners of a drawn band."""
    return sorted(set(map(tuple, axes.collections[index].get_paths()[0].vertices.tolist())))


def test_logit_change_histogram_covers_all_positions_and_names_the_means() -> None:
    base, distilled, control = np.linspace(0, 2, 11), np.linspace(-5, -3, 11), np.full(5, 0.25)
    axes = logit_change_histogram({"base": base, "distilled": distilled}, control, "wait").axes[0]
    assert axes.get_title(loc="left") == "wait (n = 11)"
    assert labels(axes) == ["base, mean 1.00", "distilled, mean -4.00", "control, distilled, mean 0.250"]
    for bars in axes.containers[:2]:
        assert sum(bar.get_height() * bar.get_width() for bar in bars) == pytest.approx(1)
    assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx([1, -4, 0])


def test_effect_by_fraction_has_a_panel_a_model_and_a_line_an_arm() -> None:
    arms = {"selected": estimates(-1.0, -2.0), "random": estimates(0.0, -0.5), "matched": [Estimate(0.0)] * 2}
    figure = effect_by_fraction([0.005, 0.2], {"base": arms, "distilled": arms}, "effect")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["base", "distilled"]
    for axes in figure.axes:
        _, *lines = axes.lines
        assert [line.get_ydata().tolist() for line in lines] == [[-1, -2], [0, -0.5], [0, 0]]
        assert len(axes.collections) == 2  # an arm without intervals has no band
        assert band(axes) == [(0.005, -2.0), (0.005, 0.0), (0.2, -3.0), (0.2, -1.0)]
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.5 %", "20 %"]
    assert labels(figure.axes[-1]) == ["selected", "random", "matched"]
    assert figure.axes[0].lines[1].get_color() != figure.axes[1].lines[1].get_color()


def test_effect_matrix_writes_each_number_in_its_cell() -> None:
    effects = np.array([[-3.0, 0.1, np.nan], [0.2, -2.5, 0.04]])
    axes = effect_matrix(effects, ["a", "b"], ["a", "b", "other"], "effects").axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "-3.00", (1, 0): "0.10", (0, 1): "0.20", (1, 1): "-2.50", (2, 1): "0.04"}
    image = axes.images[0]
    assert image.get_clim() == (-3, 3)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "other"]


def test_dose_response_sets_the_latent_against_random_directions() -> None:
    panel = DosePanel(
        name="length", latent=estimates(10.0, 20.0, 40.0), best_random=estimates(19.0, 20.0, 22.0),
    )  # fmt: skip
    figure = dose_response([-2.0, 0.0, 2.0], [panel, panel], latent="latent 7")
    assert len(figure.axes) == 2
    for axes in figure.axes:
        _, *lines = axes.lines
        assert [line.get_ydata().tolist() for line in lines] == [[19, 20, 22], [10, 20, 40]]
        assert len(axes.collections) == 2
    assert labels(figure.axes[0]) == ["best random direction", "latent 7"]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_cdf_curves_rise_from_none_to_all(n: int) -> None:
    quantiles = LossQuantiles(loss=np.array([0.2, 0.5, 0.9]), null=np.array([0.8, 1.0, 1.1]))
    figure = cdf_curves({f"class {i}": {"base": quantiles, "distilled": quantiles} for i in range(n)})
    assert [axes.get_title(loc="left") for axes in figure.axes] == [f"class {i}" for i in range(n)]
    for axes in figure.axes:
        null, loss = axes.lines[:2]
        assert loss.get_xydata().tolist() == [[0.2, 0], [0.5, 0.5], [0.9, 1]]
        assert null.get_xydata().tolist() == [[0.8, 0], [1.0, 0.5], [1.1, 1]]
        assert (null.get_linestyle(), loss.get_linestyle()) == ("--", "-")
        assert null.get_color() == loss.get_color() != axes.lines[2].get_color()


def test_layer_curves_mark_the_largest() -> None:
    figure = layer_curves([0, 1, 2], {"distance": estimates(1.0, 5.0, 3.0), "cosine": estimates(0.9, 0.5, 0.7)})
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "distance, largest 5.00 at layer 1",
        "cosine, largest 0.900 at layer 0",
    ]
    assert [axes.lines[-1].get_xydata().tolist() for axes in figure.axes] == [[[1, 5]], [[0, 0.9]]]
    assert band(figure.axes[0])[0] == (0, 0)


def test_nu_histogram_counts_survivors_and_holds_what_lies_outside() -> None:
    nu = {"base-only": np.array([-9.0, 0.1, 0.9, 7.0]), "distilled-only": np.array([0.5])}
    survives = {"base-only": np.array([False, True, False, False]), "distilled-only": np.array([False])}
    figure = nu_histogram(nu, survives, threshold=0.2)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "base-only: 1 of 4 survive",
        "distilled-only: 0 of 1 survive",
    ]
    kept, lost = figure.axes[0].containers
    assert (sum(bar.get_height() for bar in kept), sum(bar.get_height() for bar in lost)) == (1, 3)
    assert lost[0].get_height() == lost[-1].get_height() == 1


def test_figures_of_little_or_nothing_can_be_saved_whatever_the_names_and_none_is_left_with_pyplot(tmp_path) -> None:
    one, nothing, name = np.array([0.5]), np.zeros(0), r"$\frac$ a_b"
    drawn = [
        logit_change_histogram({"base": one, "distilled": one}, one, name),
        effect_by_fraction([0.02], {"base": {"selected": estimates(1.0)}}, name),
        effect_matrix(np.full((1, 1), np.nan), [name], [name], name),
        dose_response([1.0], [DosePanel(name=name, latent=[Estimate(1.0)], best_random=[Estimate(float("nan"))])]),
        nu_histogram({name: nothing}, {name: np.zeros(0, dtype=bool)}, 0.2),
    ]
    for figure in drawn:
        figure.savefig(tmp_path / "figure.png")
    changes, effect, matrix, dose, nu = (figure.axes[0] for figure in drawn)
    for bars in changes.containers[:2]:
        assert sum(bar.get_height() * bar.get_width() for bar in bars) == pytest.approx(1)
    assert effect.lines[-1].get_xydata().tolist() == [[0.02, 1]]
    assert [text.get_text() for text in matrix.texts] == []
    assert dose.lines[-1].get_xydata().tolist() == [[1, 1]]
    assert all(bar.get_height() == 0 for bars in nu.containers for bar in bars)
    assert plt.get_fignums() == []


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
