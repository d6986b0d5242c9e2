import dataclasses
import json
from collections.abc import Callable

import pytest

from toolkit.artifacts import provenance
from toolkit.experiments.crosscoder.measure import Evaluation, evaluate_crosscoder
from toolkit.experiments.crosscoder.page import describe_pair, load_expression, planted_table, run_header, run_report
from toolkit.harvest.documents import Corpus
from toolkit.models.pair import ModelPair
from toolkit.reports.run_report import RunReport
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS, RunConfig
from toolkit.training.training_run import TrainingRun


@pytest.fixture
def evaluated(
    open_run: Callable[..., TrainingRun], config: RunConfig, pair: ModelPair, corpus: Corpus
) -> tuple[Evaluation, RunReport]:
    """A whole run's evaluation and the plain data of its report."""
    with open_run(config, pair) as run:
        list(run.steps())
    run.folder.write_json("provenance.json", provenance(seed=0, data=corpus.origin, inputs=pair.files()))
    evaluation = evaluate_crosscoder(config, pair, corpus, run.trainer.crosscoder())
    return evaluation, run_report(
        config, pair, evaluation, run.folder, masks=run.masks, documents=run.documents, seconds={"training": 1.0}
    )


def test_the_report_has_what_was_measured(
    config: RunConfig, pair: ModelPair, evaluated: tuple[Evaluation, RunReport]
) -> None:
    evaluation, report = evaluated
    metrics = evaluation.metrics(pair)
    shown = {headline.name: headline for headline in report.headline}
    for name, key in (("FVE base", "fve_base"), ("L0", "l0"), ("KL spliced, distilled", "kl_spliced_distilled")):
        assert shown[name].value == metrics[key]
    assert shown["mean NRN"].n == int(evaluation.alive.sum())
    assert shown["FVE base"].n == metrics["held_out_tokens"]
    assert report.firing_rate.sum() == pytest.approx(metrics["l0"])
    assert len(report.records) == 40
    assert report.settings["lr"] == config.training.lr
    assert "training" not in report.settings
    assert report.masks["position 0"] > 0
    assert " whole" in report.documents
    assert planted_table(evaluation) is None


def test_the_pair_is_named_as_it_was_asked_for(config: RunConfig, organism_folders: tuple[str, str]) -> None:
    assert describe_pair(EMBEDDED_DEFAULTS) == "organism"
    assert load_expression(EMBEDDED_DEFAULTS) == "ModelPair.from_pretrained('organism')"
    loaded = eval(load_expression(config), {"ModelPair": ModelPair})
    assert loaded.sources == organism_folders


def test_the_header_says_what_runs_on_what(config: RunConfig, pair: ModelPair) -> None:
    header = run_header(config, pair)
    assert header["site"] == "input of layer 1 of 3, width 16"
    assert header["device"] == "cpu, 1 threads; models in float32"
    assert run_header(dataclasses.replace(config, remote=True), pair)["device"].endswith("models on NDIF")
    assert header["training"].startswith("10,240 tokens in 40 steps of 256")
    assert header["buffer"].startswith("1,024 activations")
    assert header["schedules"].startswith("k 16 → 8 after 10 steps; learning rate 0.01 after 5 steps, falling from")
    assert header["crosscoder"] == "64 latents, batchtopk, k 8"
    l1 = dataclasses.replace(config, training=dataclasses.replace(config.training, sparsity="l1"))
    assert run_header(l1, pair)["crosscoder"] == "64 latents, l1, λ 2"
    json.dumps(header)
