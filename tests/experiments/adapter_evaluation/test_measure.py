"""An adapter that gives back all that the hybrid lacks, one that gives back half, and input that cannot be used."""

from math import isnan

import pytest
import torch

from toolkit.dictionaries.adapter_storage import save_adapter
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.experiments.adapter_evaluation import AdapterEvaluationConfig
from toolkit.experiments.adapter_evaluation.answers import MODES
from toolkit.experiments.adapter_evaluation.closeness import BIASES, FIRST, HYBRID, LAST, SHUFFLED, SINGLE, WITHOUT
from toolkit.experiments.adapter_evaluation.measure import measure, open_questions
from toolkit.experiments.adapter_evaluation.page import page, results
from toolkit.experiments.examine import examine


@pytest.fixture(scope="module")
def settings(ask, save):
    return ask(sweep=(save(0.5, coefficient=0.01), save(1.0, n_latents=5)))


@pytest.fixture(scope="module")
def run(settings, open_run):
    return open_run(settings)


@pytest.fixture(scope="module")
def found(settings, run):
    return measure(settings, run)


def test_an_adapter_that_matches_the_distilled_model_recovers_all(found):
    kl = results(found)["kl_of"]
    assert found.closeness.kl.value == pytest.approx(0, abs=1e-5)
    assert kl[HYBRID].value > 0.05
    assert kl[BIASES].value == pytest.approx(kl[HYBRID].value)  # its decoder biases are 0
    assert found.yardsticks.recovered(found.closeness.fidelity.kl).value == pytest.approx(1, abs=1e-3)
    assert max(each.value for each in results(found)["nmse"]) < 1e-9
    assert min(each.value for each in results(found)["nmse_of_hybrid_without_sink"]) > 1e-3
    texts = dict(zip(MODES, found.answers.answers.texts, strict=True))
    assert texts["adapter"] == texts["distilled"] != texts["hybrid"] != texts["base"]
    assert found.answers.length_ratio.value == 1


def test_replacing_no_layer_changes_nothing_and_replacing_all_is_the_adapter(found):
    partial = found.yardsticks.partial
    assert {name: len(each) for name, each in partial.items()} == {FIRST: 4, LAST: 4, SINGLE: 3, WITHOUT: 3}
    for name in (FIRST, LAST):
        assert not partial[name][0].any()
        torch.testing.assert_close(partial[name][3], found.closeness.fidelity.kl, atol=1e-4, rtol=1e-4)
    assert (partial[WITHOUT].mean(dim=1) > 0).all()


def test_firing_is_counted_and_a_lone_latent_has_nobody_to_change_rows_with(found):
    content = results(found)
    assert content["l0"].value == 1
    assert content["dead"] == [5, 5, 5]
    assert content["kl_of"][SHUFFLED].value == pytest.approx(0, abs=1e-5)


def test_adapters_of_a_sweep_stand_in_one_table(found):
    by_size = {each.n_latents: each for each in found.swept}
    assert len(found.swept) == 3
    assert by_size[15].kl.value == pytest.approx(0, abs=1e-5)
    (half,) = [each for each in found.swept if each.coefficient is not None]
    assert half.coefficient == 0.01
    assert 1e-4 < half.kl.value < found.yardsticks.per_token(found.yardsticks.kl[HYBRID]).value
    assert all(each.dead == each.n_latents - 3 for each in found.swept)


def test_the_page_has_every_number(settings, run, found):
    made = page(settings, run, found)
    content = made.results
    for name in ("accuracy", "length", "hesitation_per_1k", "finished"):
        assert tuple(content[name]) == MODES
    assert content.keys() >= {"l0", "kl", "nmse", "nmse_without_sink", "partial", "sweep", "recovered", "verdicts"}
    assert len(content["nmse"]) == len(content["nmse_without_sink"]) == 3
    assert [table.title for table in made.tables][-3:] == [
        "Adapters by λ", "Published adapters (qwen-7b)", "Some layers replaced",
    ]  # fmt: skip
    assert {chart.name for chart in made.charts} == {"accuracy", "partial_replacement", "layers", "sweep"}
    assert all(len(text.texts) == len(text.labels) == 4 for text in made.texts)
    assert made.facts["prompt"] == "the same for all: the question, up to where the model begins to think"


def test_questions_without_answers_leave_accuracy_out(ask, tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(f'{{"question": "What is {i}?"}}\n' for i in range(9)))
    findings = examine(ask(questions=path, tokens=200, test=3, new_tokens=2))
    assert len(findings.claims) == 3
    assert "accuracy" not in {chart.name for chart in findings.charts}
    assert isnan(findings.results["accuracy"]["adapter"].value)
    assert "adapter.safetensors" in str(findings.provenance["sha256"])
    findings.save(tmp_path / "out")


def test_questions_are_the_last_ones_of_the_file(settings, run):
    assert [each.answer for each in open_questions(settings, run)] == [str(2 * i) for i in range(3, 12)]


def test_too_few_questions_are_refused(ask, run, tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text('{"question": "What is 2+2?", "answer": "4"}\n')
    with pytest.raises(ValueError, match="holds 1 question: give at least 2"):
        measure(ask(questions=path), run)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"test": 1}, "test 1: must be at least 2"),
        ({"samples": 2}, "samples 2: greedy answers are all alike"),
        ({"tokens": 0}, "tokens 0: must be"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        AdapterEvaluationConfig(**values)


def test_an_adapter_of_another_shape_has_no_place_in_a_sweep(ask, run, tmp_path):
    save_adapter(Adapter(AdapterConfig(d_model=16, n_layers=2, n_latents=3)), tmp_path / "other")
    with pytest.raises(ValueError, match="the adapter is for 2 layers of d_model 16"):
        measure(ask(sweep=(tmp_path / "other",)), run)
