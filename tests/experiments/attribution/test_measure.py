"""Attribution of one prompt: which prompt and words, graphs side by side, and edges that hold in the frozen model."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.attribution import AttributionConfig
from toolkit.experiments.attribution import measure as measuring
from toolkit.experiments.attribution.measure import (
    AttributionFound,
    continued_ids,
    measure,
    prompt_ids,
    strongest_edges,
    target_ids,
)
from toolkit.experiments.attribution.results import results

PROMPT = "Tom has 24 cows. Wait"
CONFIG = AttributionConfig(prompt=PROMPT, compare=("hybrid", "distilled", "base"), tested_edges=40)


@pytest.fixture(scope="module")
def found(adapter_run: AdapterRun) -> AttributionFound:
    return measure(CONFIG, adapter_run)


def test_the_graph_is_the_adapters_beside_those_of_other_modes(
    found: AttributionFound, adapter_run: AdapterRun
) -> None:
    assert "".join(found.graph.tokens).endswith(PROMPT)
    ids = torch.tensor([found.graph.token_ids])
    models = adapter_run.models
    adapter = deepcopy(models.transcoders)  # it goes where these models are loaded
    base = AdaptedModel.from_pretrained(
        base=models.sources[1].name, distilled=models.sources[0].name, adapter=adapter, other_models=True
    ).distilled
    for name, model in (("hybrid", models.hybrid), ("distilled", models.distilled), ("base", base)):
        other = found.compared[name]
        expected = model.logits(ids, last=1)[0, 0].softmax(dim=-1)[list(found.graph.logit_ids)]
        assert other.logit_ids == found.graph.logit_ids
        assert len(other.latents) == 0
        assert other.probabilities == pytest.approx(expected.tolist(), rel=1e-3)
    assert {each.identity_error < 1e-9 for each in (found.graph, *found.compared.values())} == {True}


def test_edges_are_exact_in_the_frozen_model_and_shuffled_ones_are_not(found: AttributionFound) -> None:
    tests = found.tests
    torch.testing.assert_close(tests.measured["frozen"], tests.predicted)
    assert not torch.allclose(tests.measured["free"], tests.predicted)
    assert not torch.equal(tests.measured["free"], tests.measured["held"])
    assert tests.agreement["free"].r.value > tests.shuffled.r.value + 0.3
    assert tests.to_logits.n + tests.to_latents.n == tests.agreement["free"].n == 40
    assert tests.without_edge is None or tests.without_edge < 1


def test_the_free_change_is_what_the_model_loses_without_the_latent(
    found: AttributionFound, adapter_run: AdapterRun
) -> None:
    graph, models = found.graph, adapter_run.models
    ids = torch.tensor([graph.token_ids])
    whole = models.adapter.logits(ids, last=1)[0, 0].double()
    checked = 0
    for (source, target), change in zip(found.tests.edges.tolist(), found.tests.measured["free"].tolist(), strict=True):
        layer, _, index = graph.latents[source].tolist()
        elsewhere = models.transcoders[layer].encode(models.mlp_inputs(ids, torch.ones_like(ids))[layer][0])[:, index]
        if target < graph.first_logit or (elsewhere > 0).sum() > 1:
            continue  # modes take a latent out at all positions
        without = models.without([(layer, index)]).logits(ids, last=1)[0, 0].double()
        lost = (whole - whole.mean()) - (without - without.mean())
        assert change == pytest.approx(float(lost[graph.logit_ids[target - graph.first_logit]]), rel=1e-3, abs=1e-5)
        checked += 1
    assert checked


def test_the_results_are_json_with_the_named_figures(found: AttributionFound) -> None:
    said = json.loads(json.dumps(results(found)))
    assert said["identity_error"] < 1e-9
    assert {"slope", "r", "n", "frozen", "shuffled"} <= said["interventions"].keys()
    assert said["interventions"]["n"] == 40
    assert said["completeness"] == said["logits"][0]["completeness"] == pytest.approx(1, abs=0.5)
    assert said["seconds"] > 0


def test_words_are_single_tokens_with_or_without_a_space(adapter_run: AdapterRun) -> None:
    tokenizer = adapter_run.models.tokenizer
    logits = torch.zeros(adapter_run.models.distilled.vocab_size)
    (spaced,), (plain,) = (tokenizer(word, add_special_tokens=False)["input_ids"] for word in (" Wait", "Wait"))
    logits[spaced] = 1
    assert target_ids(tokenizer, ["Wait"], logits) == [spaced]
    logits[plain] = 2
    assert target_ids(tokenizer, ["Wait", "Wait"], logits) == [plain]
    with pytest.raises(ValueError, match=r"target 'Wait 24' is 4 tokens \('Wait', ' ', '2', '4'\): give a word of one"):
        target_ids(tokenizer, ["Wait 24"], logits)


def test_line_ends_are_the_tokens_that_they_are_before_a_word(adapter_run: AdapterRun) -> None:
    tokenizer = adapter_run.models.tokenizer
    for prompt in ("24 cows.\n\n", "24 cows.\n", "24 cows"):
        found = continued_ids(tokenizer, prompt)
        before_a_word = tokenizer(f"{prompt}{'' if prompt[-1].isspace() else ' '}Wait")["input_ids"]
        assert found == before_a_word[: len(found)]
        assert tokenizer.decode(found).endswith(prompt)


def test_the_default_prompt_ends_where_the_adapter_hesitates(
    adapter_run: AdapterRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = adapter_run.models
    wait, other = models.tokenizer.encode(" Wait", add_special_tokens=False)[0], 7
    monkeypatch.setattr(measuring, "_answers", lambda _: iter([([1, 2], [other]), ([3, 4], [other, other, wait])]))
    assert prompt_ids(AttributionConfig(), adapter_run) == [3, 4, other, other]
    monkeypatch.setattr(measuring, "_answers", lambda _: iter([([1, 2], [other])]))
    with pytest.raises(ValueError, match="give a prompt of your own with --prompt"):
        prompt_ids(AttributionConfig(), adapter_run)


def test_bad_input_is_refused(adapter_run: AdapterRun, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="exceeds the model's context of 512 tokens: attribute a shorter prompt"):
        measure(replace(CONFIG, prompt="cows " * 600), adapter_run)
    with pytest.raises(ValueError, match="compare hybrid hybrid: name each once"):
        AttributionConfig(compare=("hybrid", "hybrid"))
    for transcoder in adapter_run.models.transcoders.transcoders:  # as training begins: latents fire, and add nothing
        monkeypatch.setattr(transcoder.W_dec, "data", torch.zeros_like(transcoder.W_dec))
    with pytest.raises(ValueError, match=r"no edge of a latent is above the thresholds: [1-9][0-9]* latents fire"):
        measure(CONFIG, adapter_run)


def test_half_of_the_tested_edges_lead_into_words_where_there_are_as_many(found: AttributionFound) -> None:
    graph = found.graph
    edges = graph.edges[strongest_edges(graph, 10)]
    assert (edges[:, 0] < graph.first_token).all()
    assert int((edges[:, 1] >= graph.first_logit).sum()) == 5
    everything = strongest_edges(graph, 10**6)
    assert len(everything) == len(everything.unique()) == int((graph.edges[:, 0] < graph.first_token).sum())
