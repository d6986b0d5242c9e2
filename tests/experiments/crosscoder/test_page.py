import dataclasses
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest

from toolkit.artifacts import provenance
from toolkit.experiments.crosscoder.measure import FinishedRun, evaluate_crosscoders
from toolkit.experiments.crosscoder.page import (
    CAPTIONS,
    describe_pair,
    page,
    planted_tables,
    run_header,
)
from toolkit.experiments.run_report import write_report
from toolkit.fields import changed
from toolkit.harvest.documents import Corpus
from toolkit.models.pair import ModelPair
from toolkit.reports.findings import Share
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS, RunConfig
from toolkit.settings.run_files import REPORT
from toolkit.statistics.estimates import GIVEN_ONE
from toolkit.training.folder import RunFolder
from toolkit.training.training_run import TrainingRun


@pytest.fixture
def finished(
    open_run: Callable[..., TrainingRun], config: RunConfig, pair: ModelPair, corpus: Corpus
) -> tuple[FinishedRun, RunFolder]:
    """A whole run of two seeds, and its folder."""
    config = changed(config, seeds=2)
    with open_run(config, pair) as run:
        list(run.steps())
    run.folder.write_json("config.json", {"run": config.settings()})
    run.folder.save_crosscoders(run.crosscoders(), None)
    run.folder.write_json("provenance.json", provenance(seed=0, data=corpus.origin, inputs=pair.files()))
    found = FinishedRun(
        evaluation=evaluate_crosscoders(
            config.text, config.mask, pair, corpus, dict(run.crosscoders()), seed=config.seed
        ),
        records=run.folder.records(),
        masks=run.masks,
        documents=run.documents,
        seconds={"training": 75.0, "evaluation": 25.0},
    )
    return found, run.folder


def test_the_report_has_what_was_measured(
    config: RunConfig, pair: ModelPair, finished: tuple[FinishedRun, RunFolder]
) -> None:
    found, _ = finished
    report = page(config, pair, found)
    metrics = found.evaluation.metrics(pair)
    shown = {headline.name: headline for headline in report.headline}
    for name, key in (("FVE base", "fve_base"), ("L0", "l0"), ("KL spliced, distilled", "kl_spliced_distilled")):
        by_seed = [measured[key] for measured in metrics["seeds"].values()]
        assert len(by_seed) == 2
        assert metrics[key] == by_seed[0]
        value = shown[name].value
        assert value.value == pytest.approx(sum(by_seed) / 2)
        assert value.low < min(by_seed) < max(by_seed) < value.high
    assert shown["mean NRN"].n == int(found.evaluation.own.alive.sum())
    assert f"neutral {metrics['neutral']:.3f}" in shown["mean NRN"].note
    in_training = [measured["mean_nrn_training_units"] for measured in metrics["seeds"].values()]
    assert shown["mean NRN, training units"].value.value == pytest.approx(sum(in_training) / 2)
    assert shown["FVE base"].n == metrics["held_out_tokens"]
    assert report.results == metrics
    persist = metrics["persistence"]["all that fire"]
    assert (shown["latents that persist"].value.value, shown["latents that persist"].n) == (
        persist["persist"],
        persist["n"],
    )
    seeds, groups, times, masks = report.tables
    assert [row[0] for row in seeds.rows] == ["0", "1"]
    assert f"NRN is neutral at {metrics['neutral']:.3f}." in seeds.note
    assert [row[0] for row in groups.rows] == [*metrics["persistence"]]
    assert times.rows[0] == ("training", Share("1:15", 0.75))
    assert dict(masks.rows)["position 0"].share > 0
    assert " whole" in masks.note
    assert planted_tables(found.evaluation) == []


def test_of_one_crosscoder_every_figure_says_that_it_is_given(
    config: RunConfig, pair: ModelPair, finished: tuple[FinishedRun, RunFolder]
) -> None:
    found, _ = finished
    first = next(iter(found.evaluation.by_seed))
    alone = dataclasses.replace(found.evaluation, by_seed={first: found.evaluation.by_seed[first]}, matched={first: []})
    report = page(config, pair, dataclasses.replace(found, evaluation=alone))
    assert [headline.name for headline in report.headline if GIVEN_ONE not in headline.note] == []
    assert [table.title for table in report.tables if "seed" in table.title] == []
    assert "best_matches" not in [chart.name for chart in report.charts]
    assert "persistence" not in report.results


def test_the_report_is_a_page_with_its_figures_in_the_run_s_folder(
    config: RunConfig, pair: ModelPair, finished: tuple[FinishedRun, RunFolder]
) -> None:
    found, folder = finished
    report = page(config, pair, found)
    written = write_report(folder, report)
    assert written == folder.path / "report.html"
    for name in REPORT:
        assert (folder.path / name).is_file()
    for chart in report.charts:
        header = (folder.path / "figures" / f"{chart.slug}.png").read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">I", header[16:20]) == (840,)
    text = written.read_text(encoding="utf-8")
    assert text.count("<figure><svg ") == 5
    for said in (
        "metrics.json",
        "<dt>lr</dt><dd>0.01</dd>",
        "<h2>Versions</h2>",
        "<h2>Settings</h2>",
        "Run.open(",
    ):
        assert said in text, said


def test_the_report_s_files_are_those_that_are_drawn() -> None:
    assert ("report.html", *(f"figures/{name}.png" for name in CAPTIONS)) == REPORT


def test_a_finished_run_has_training_steps(finished: tuple[FinishedRun, RunFolder]) -> None:
    with pytest.raises(ValueError, match="no training step to draw curves of"):
        dataclasses.replace(finished[0], records=[])


def test_the_pair_is_named_as_it_was_asked_for(config: RunConfig) -> None:
    assert describe_pair(EMBEDDED_DEFAULTS.models) == "organism"
    assert describe_pair(config.models) == f"{config.models.base} → {config.models.distilled}"


def test_the_report_s_lines_of_python_open_the_run(
    config: RunConfig, pair: ModelPair, finished: tuple[FinishedRun, RunFolder]
) -> None:
    found: dict[str, Any] = {}
    exec(page(config, pair, finished[0]).code, found)
    assert found["run"].settings.training == config.training
    assert found["latents"].shape[1] == config.training.n_latents


def test_the_header_says_what_runs_on_what(config: RunConfig, pair: ModelPair) -> None:
    header = run_header(changed(config, device_map="cpu"), pair)
    assert header["site"] == "input of layer 1 of 3, width 16"
    assert header["device"] == f"{pair.device}, 1 threads; models in float32"
    assert run_header(changed(config, remote=True), pair)["device"].endswith("models on NDIF")
    assert header["training"].startswith("10,240 tokens in 40 steps of 256")
    assert header["buffer"].startswith("1,024 activations")
    assert header["schedules"].startswith("k 16 → 8 after 10 steps; learning rate 0.01 after 5 steps, falling from")
    assert header["crosscoder"] == "64 latents, batchtopk, k 8"
    l1 = dataclasses.replace(config, training=dataclasses.replace(config.training, sparsity="l1"))
    assert run_header(l1, pair)["crosscoder"] == "64 latents, l1, λ 2"
    json.dumps(header)
