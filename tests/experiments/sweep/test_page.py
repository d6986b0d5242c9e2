import pytest

from toolkit.experiments.sweep import SweepConfig, parse_sweep
from toolkit.experiments.sweep.page import page
from toolkit.models.pair import ModelPair
from toolkit.statistics.estimates import Estimate


@pytest.fixture
def config() -> SweepConfig:
    return parse_sweep(["--k", "4", "8", "--n-latents", "48", "64"])


def measured(n: int, k: int) -> dict[str, object]:
    return {
        "fve_base": n / 100, "fve_distilled": k / 10, "l0": k + 0.5, "dead_share": 0.25, "mean_nrn": 0.5,
        "mean_nrn_interval": [0.4, 0.6], "kl_spliced_base": 1.0, "kl_spliced_distilled": 2.0,
        "kl_mean_ablated_base": 7.5, "kl_mean_ablated_distilled": 9.0, "held_out_tokens": 2048,
        "neutral": 0.484,
    }  # fmt: skip


def test_each_crosscoder_has_a_row_and_the_best_a_headline(config: SweepConfig, pair: ModelPair) -> None:
    metrics = {name: measured(plan.n_latents, plan.k) for name, plan in config.plans.items()}
    findings = page(config, pair, metrics)
    base, distilled = findings.headline
    assert (base.value, base.n, base.note) == (0.64, 2048, "n-latents-64_k-4; L0 4.50")
    assert (distilled.value, distilled.note) == (0.8, "n-latents-48_k-8; L0 8.50")
    [table] = findings.tables
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["n-latents-48_k-8"] == [0.48, 0.8, 8.5, "25.0 %", Estimate(0.5, 0.4, 0.6), 1.0, 2.0]
    assert list(rows) == list(config.plans)
    assert "the control, costs 7.50 (base), 9.00 (distilled)" in table.note
    assert "1 distilled only, neutral 0.484;" in table.note
    assert findings.results == metrics


def test_several_seeds_are_told_by_their_means_with_intervals_over_them(pair: ModelPair) -> None:
    config = parse_sweep(["--k", "4", "8", "--seeds", "2"])
    seeds = {str(seed): measured(64, 4) | {"l0": 4.0 + seed} for seed in range(2)}
    [table] = page(config, pair, {name: measured(64, 4) | {"seeds": seeds} for name in config.plans}).tables
    l0 = table.rows[0][3]
    assert (l0.value, l0.freedom) == (4.5, 1.0)
    assert l0.low < 4 < 5 < l0.high
    assert "its 95 % interval is over seeds, as all intervals here" in table.note


def test_the_figure_has_a_line_for_each_number_of_latents(config: SweepConfig, pair: ModelPair) -> None:
    metrics = {name: measured(plan.n_latents, plan.k) for name, plan in config.plans.items()}
    [chart] = page(config, pair, metrics).charts
    base, distilled = chart.figure.axes
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in distilled.get_lines()}
    assert drawn == {"48 latents": ([4.5, 8.5], [0.4, 0.8]), "64 latents": ([4.5, 8.5], [0.4, 0.8])}
    assert base.get_title(loc="left") == "base"
