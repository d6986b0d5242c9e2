"""Costs of ways of running: what each changes, and the tables that a README tells."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from toolkit.experiments.costs import PlannedModels, RunCostsConfig
from toolkit.experiments.costs.measure import (
    GIGA,
    Costs,
    Mode,
    measure,
    modes,
    planned_run,
)
from toolkit.experiments.costs.page import modes_table, page
from toolkit.experiments.costs.rates import H100, choose_rate, matrix_rate
from toolkit.formatting import number
from toolkit.models.places.one_at_a_time import BLOCK_TOKENS
from toolkit.training.costs import PlannedRun, gradient_bytes, trainer_bytes

README = (Path(__file__).parents[2] / "benchmarks" / "README.md").read_text(encoding="utf-8")


def found(run: PlannedRun, **changes: int) -> dict[str, Mode]:
    settings = {"max_memory": 2 * 10**9, "sweep": 4} | changes
    return {mode.name: mode for mode in modes(run, **settings)}


@pytest.fixture(scope="module")
def run() -> PlannedRun:
    """The paper's run on the pair of 7B."""
    return planned_run(RunCostsConfig(models=PlannedModels(pair="qwen-7b")))


def test_modes_to_the_site_hold_less_in_memory_and_all_on_the_disk(run: PlannedRun):
    ways = found(run)
    whole, deep = ways["whole models"], ways["models to the site"]
    assert deep.resident < whole.resident == deep.stored == whole.stored
    assert ways["--sequential"].resident == deep.resident / 2
    assert ways["--sequential"].moved == -(-400_000_000 // BLOCK_TOKENS) * deep.resident


def test_offloading_reads_at_every_pass_what_memory_does_not_hold(run: PlannedRun):
    deep = found(run)["models to the site"].resident
    tight, roomy = (found(run, max_memory=limit * 10**9)[f"--max-memory {limit}GB"] for limit in (2, 100))
    assert tight.resident == 4 * 10**9
    assert tight.moved == tight.resident + run.passes * (deep - tight.resident)
    assert (roomy.resident, roomy.moved) == (deep, deep)


def test_a_server_or_a_cache_reads_models_instead(run: PlannedRun):
    ways = found(run)
    for name in ("--remote, bf16", "--remote, int8", "cached, bf16", "cached, int8"):
        assert (ways[name].harvests, ways[name].resident) == (0, 0)
    assert ways["cached, bf16"].stored == 400_000_000 * 2 * 3584 * 2
    assert ways["caching, int8"].stored - ways["whole models"].stored == 400_000_000 * 2 * (3584 + 4)


def test_a_sweep_reads_once(run: PlannedRun):
    rate = choose_rate(RunCostsConfig(tflops=1.0), run)
    table = modes_table(Costs(run=run, modes=modes(run, max_memory=1, sweep=3), rate=rate))
    rows = {row[0]: row for row in table.rows}
    whole, sweep, apart = (rows[name] for name in ("whole models", "sweep of 3", "3 runs apart"))
    assert (sweep[1], sweep[2]) == (whole[1], 3 * whole[2])
    assert (apart[1], apart[2]) == (3 * whole[1], 3 * whole[2])
    assert apart[3] == pytest.approx(3 * whole[3])


def test_an_assumed_rate_gives_hours_and_is_called_so(run: PlannedRun):
    rate = choose_rate(RunCostsConfig(tflops=2.0), run)
    assert rate.hours(run.tokens, trainings=0) == pytest.approx(run.harvest_flops / 2e12 / 3600)
    assert rate.hours(run.tokens, readings=0, trainings=3) == pytest.approx(3 * run.training_flops / 2e12 / 3600)
    assert rate.origin == "assumed: 2 TFLOP/s in matrix products"
    table = modes_table(Costs(run=run, modes=modes(run, max_memory=1, sweep=1), rate=rate))
    assert "one device, assumed: 2 TFLOP/s in matrix products; they count matrix products alone" in table.note


def test_this_machines_rate_is_measured_where_it_is_asked_for(run: PlannedRun):
    rate = choose_rate(RunCostsConfig(precision="fp32", rates="here"), run)
    assert run.harvest_flops / run.tokens / rate.reading > 1e9
    assert re.match(r"measured on .+ in matrix products: .*fp32 [\d.]+ TFLOP/s", rate.origin)


@pytest.mark.parametrize(("pair", "tokens_a_second"), [("qwen-1.5b", 136e3), ("qwen-7b", 38.0e3), ("qwen-14b", 18.4e3)])
def test_the_rates_of_an_h100_give_what_was_measured_there(pair: str, tokens_a_second: float):
    run = planned_run(RunCostsConfig(models=PlannedModels(pair=pair)))
    rate = choose_rate(RunCostsConfig(), run)
    assert 1 / rate.reading == pytest.approx(tokens_a_second, rel=0.01)
    assert rate.origin.startswith("measured on an H100 80GB")


def test_a_step_is_scaled_from_what_was_measured():
    small, large = (
        planned_run(RunCostsConfig(models=PlannedModels(pair="qwen-1.5b"), n_latents=n)) for n in H100.latents
    )
    wide = planned_run(RunCostsConfig(models=PlannedModels(pair="qwen-7b")))
    step = {each: 2048 * choose_rate(RunCostsConfig(), each).training for each in (small, large, wide)}
    assert (step[small], step[large]) == pytest.approx((10.7e-3, 18.5e-3))
    assert step[wide] == pytest.approx(10.7e-3 + (7168 / 3072 - 1) * 7.8e-3)
    seeds = replace(small, seeds=3)
    assert choose_rate(RunCostsConfig(), seeds).training == pytest.approx(3 * step[small] / 2048)


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    """A table as that README writes it."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def sizes_table() -> str:
    """What the paper's run takes on each pair, whatever the mode."""
    pairs = {"1.5B": "qwen-1.5b", "7B": "qwen-7b", "14B": "qwen-14b"}
    columns: list[list[str]] = []
    for pair in pairs.values():
        config = RunCostsConfig(models=PlannedModels(pair=pair))
        run, dense = planned_run(config), planned_run(replace(config, sparsity="l1"))
        hours = [choose_rate(config, each).hours(each.tokens) for each in (run, dense)]
        trainer = trainer_bytes(run.training, run.width, 2) + gradient_bytes(run.training, run.width)
        weights = [sum(run.resident_bytes(depth)) / GIGA for depth in (None, run.depth)]
        columns.append(
            [
                number(run.harvest_flops / 1e18),
                " / ".join(number(each.training_flops / 1e18) for each in (run, dense)),
                " / ".join(map(number, hours)),
                " / ".join(map(number, weights)),
                number(trainer / GIGA),
                " / ".join(number(size / GIGA) for size in (run.checkpoint_bytes, run.copy_bytes)),
                " / ".join(number(run.stored_bytes(kind) / 1e12) for kind in ("bf16", "int8")),
            ]
        )
    names = [
        "reading both models, EFLOP",
        "training, BatchTopK / L1, EFLOP",
        "GPU-hours on an H100, BatchTopK / L1",
        "weights, whole / to the site, GB",
        "trainer's state and gradients, GB",
        "one checkpoint / its copy beside a GPU, GB",
        "all activations, bf16 / int8, TB",
    ]
    return markdown(["", *pairs], [[name, *cells] for name, *cells in zip(names, *columns, strict=True)])


def modes_of_7b() -> str:
    """How each mode changes the paper's run on the pair of 7B."""
    config = RunCostsConfig(models=PlannedModels(pair="qwen-7b"))
    table = page(config, None, measure(config)).tables[1]
    rows = [[str(row[0]), *(number(cell) for cell in row[1:])] for row in table.rows]
    return markdown([f"7B, {table.columns[0]}", *table.columns[1:]], rows)


def test_the_readme_tells_these_costs():
    section = README.split("## Costs\n")[1].split("\n## ")[0]
    assert sizes_table() in section
    assert modes_of_7b() in section
    assert len(section.splitlines()) <= 40


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tflops": 0.0}, "tflops 0.0: must be above 0"),
        ({"row_length": 0}, "row_length 0: must be at least 1"),
        ({"max_memory": "much"}, "max_memory 'much' is no size"),
        ({"models": PlannedModels(pair="qwen")}, "no pair is called 'qwen'"),
        ({"layers": (28,)}, "layer 28 is out of range"),
        ({"k": 0}, "k 0: must be at least 1"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        measure(RunCostsConfig(**({"models": PlannedModels(pair="qwen-7b")} | settings)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_by_hand_take_the_time_that_the_rate_tells(dtype: torch.dtype):
    left = torch.randn(256, 256).to(dtype)
    rates = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(20):
            left @ left
        rates.append(20 * 2 * 256**3 / (time.perf_counter() - started))
    told = [matrix_rate(torch.device("cpu"), dtype, size=256, seconds=0.05) for _ in range(3)]  # others may be at work
    assert min(rates) / 4 < max(told)
    assert min(told) < 4 * max(rates)
