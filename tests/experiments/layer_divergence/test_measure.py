import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from toolkit.experiments.layer_divergence import LayerDivergenceConfig
from toolkit.experiments.layer_divergence.measure import compare, open_text
from toolkit.experiments.layer_divergence.page import page
from toolkit.fields import changed
from toolkit.harvest.documents import open_corpus
from toolkit.models.model_set import ModelSet
from toolkit.models.pair import ModelPair
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.settings.findings import TextChoice
from toolkit.settings.models import ControlledModels

pytestmark = pytest.mark.filterwarnings("ignore:.* are the same weights")  # one model will do here

TEXTS = [" ".join(f"w{(i * j) % 37}" for j in range(1, 6 + i % 9)) for i in range(60)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS for _ in range(20)))
    return open_corpus(str(path), text_field="text", mix=(0.5, 0.5), seed=0)


@pytest.fixture(scope="module")
def run() -> RunConfig:
    return changed(RunConfig(), row_length=10, forward_tokens=64, outlier_factor=1.01)


def hidden_states(folder: str, pair: ModelPair) -> list[torch.Tensor]:
    """Of each held-out document, [layer, token, d_model], position 0 left out."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        ids = [torch.tensor([pair.tokenizer(text)["input_ids"][:10]]) for text in TEXTS]
        return [torch.stack(model(i, output_hidden_states=True).hidden_states[:-1])[:, 0, 1:] for i in ids]


def test_the_models_own_hidden_states(tiny_pair, corpus, run, save_model):
    config = LayerDivergenceConfig(tokens=10_000)
    found = compare(config, tiny_pair, run, corpus)
    base, distilled = (hidden_states(source, tiny_pair) for source in tiny_pair.sources)
    assert found.documents == len(TEXTS)
    assert found.tokens == sum(h.shape[1] for h in base)
    a, b = torch.cat(base, dim=1), torch.cat(distilled, dim=1)
    size = (a.norm(dim=2) + b.norm(dim=2)) / 2
    expected_by = [(a - b).norm(dim=2), (a - b).norm(dim=2) / size, (a * b).sum(dim=2) / a.norm(dim=2) / b.norm(dim=2)]
    expected = torch.stack([of_tokens.mean(dim=1) for of_tokens in expected_by], dim=1)
    torch.testing.assert_close(found.curves["distilled"].mean, expected.double(), rtol=1e-4, atol=1e-5)
    assert set(found.curves) == {"distilled", "other"}


def test_another_token_of_one_model_is_farther_than_the_same_token(folders, corpus, run):
    same = ModelPair.from_pretrained(base=str(folders[0]), distilled=str(folders[0]), where="cpu")
    found = compare(LayerDivergenceConfig(tokens=300), same, run, corpus)
    assert found.tokens == 300
    torch.testing.assert_close(found.curves["distilled"].mean[:, 0], torch.zeros(4, dtype=torch.float64))
    assert (found.curves["other"].mean[:, 0] > 0.01).all()


@pytest.fixture(scope="module")
def control(save_model, folders) -> str:
    return str(save_model(AutoConfig.from_pretrained(folders[0]), seed=3))


def test_a_control_is_compared_likewise(tiny_pair, control, corpus, run):
    config = LayerDivergenceConfig(tokens=300, models=ControlledModels(control=control))
    curves = compare(config, tiny_pair, run, corpus).curves
    assert (curves["control"].mean[:, 0] > 0.01).all()
    beyond = curves["distilled"].mean - curves["control"].mean
    torch.testing.assert_close(curves["distilled − control"].mean, beyond)


def test_any_number_of_named_models_is_set_against_the_first(folders, corpus, run):
    first, second = map(str, folders)
    named = {"teacher": first, "student": second, "later": first, "control": second}
    models = ModelSet.from_pretrained(named, where="cpu")
    config = LayerDivergenceConfig(tokens=300)
    found = compare(config, models, run, corpus)
    assert list(found.curves) == [
        "student", "other", "later", "control", "student − later", "student − control",
    ]  # fmt: skip
    torch.testing.assert_close(found.curves["later"].mean[:, 0], torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(found.curves["student − later"].mean[:, 0], found.curves["student"].mean[:, 0])
    findings = page(config, models, found)
    assert findings.tables[0].title == "distance from teacher, 99 % intervals over documents"
    assert findings.tables[0].columns == (
        "layer", "student", "student − later", "student − control", "later", "control", "other",
    )  # fmt: skip
    assert [chart.name for chart in findings.charts] == ["student", "student_less_later", "student_less_control"]


def test_findings_hold_every_layer(tiny_pair, control, corpus, run):
    config = LayerDivergenceConfig(tokens=300, models=ControlledModels(control=control))
    found = compare(config, tiny_pair, run, corpus)
    findings = page(config, tiny_pair, found)
    assert findings.facts["text"].endswith("; position 0 is left out")
    kept = page(config, tiny_pair, replace(found, keep_position_0=True))
    assert kept.facts["text"].endswith("; position 0 is kept")
    results = json.loads(json.dumps(findings.results))
    mean = results["distilled"]["cosine"]["mean"]
    assert len(mean) == 4
    assert mean[results["distilled"]["cosine"]["farthest"]] == min(mean)
    assert findings.headline[2].value == results["distilled"]["cosine"]["farthest"]
    assert [row[0] for row in findings.tables[0].rows] == ["0", "1", "2", "3"]
    assert findings.tables[2].rows[1][1].value == mean[1]
    assert findings.tables[2].columns == ("layer", "distilled", "distilled − control", "control", "other")


def test_the_pair_decides_which_text_is_read(tiny_pair, tmp_path):
    path = Path(tmp_path / "a.jsonl")
    path.write_text('{"body": "w1 w2"}\n' * 2)
    run, corpus = open_text(LayerDivergenceConfig(text=TextChoice(data=str(path), text_field="body")), tiny_pair)
    assert (run.text.row_length, run.text.data) == (64, str(path))  # 2,048, but no more than the models' context
    assert [record["text"] for record in corpus.held_out] == ["w1 w2"] * 2


def test_a_control_of_another_shape_is_refused(tiny_pair, organism_folders, corpus, run):
    with pytest.raises(ValueError, match="has 3 layers of width 16, the base model 4 of 32"):
        compare(LayerDivergenceConfig(models=ControlledModels(control=organism_folders[0])), tiny_pair, run, corpus)


def open_texts(folder: Path, *texts: str):
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return open_corpus(str(path), text_field="text", mix=(0.5, 0.5), seed=0)


def test_text_without_two_tokens_is_refused(tiny_pair, run, tmp_path):
    with pytest.raises(ValueError, match="holds no document of two tokens"):
        compare(LayerDivergenceConfig(), tiny_pair, run, open_texts(tmp_path, "w1"))
    with pytest.raises(ValueError, match="tokens 0"):
        LayerDivergenceConfig(tokens=0)


def test_seven_documents_have_distances_without_interval_and_a_reason(tiny_pair, run, tmp_path):
    config = LayerDivergenceConfig()
    found = compare(config, tiny_pair, run, open_texts(tmp_path, *["w1 w2 w3 w4 w5"] * 7).read_whole())
    findings = page(config, tiny_pair, found)
    why = "7 documents: an interval needs 8"
    assert {row.note for row in findings.headline} == {why}
    for table in findings.tables:
        assert all((row[1].low, row[1].note) == (None, why) for row in table.rows)


def test_on_ndif_the_layers_part_alike(tiny_pair, ndif_tiny_pair, corpus, run):
    config = LayerDivergenceConfig(tokens=300)
    here, there = (compare(config, pair, run, corpus) for pair in (tiny_pair, ndif_tiny_pair))
    for name, curves in here.curves.items():
        torch.testing.assert_close(there.curves[name].mean, curves.mean, rtol=1e-5, atol=1e-7)
        assert torch.equal(there.curves[name].farthest, curves.farthest)
