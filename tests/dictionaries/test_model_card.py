import json

import pytest
import torch
from huggingface_hub import ModelCard

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.model_card import model_card

SOURCES = ("Qwen/Qwen2.5-Math-1.5B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B")


@pytest.fixture
def crosscoder(random_crosscoder) -> Crosscoder:
    return random_crosscoder(d_model=4, layers=(14,), sparsity="batchtopk", k=2, sources=SOURCES)


def test_an_upload_carries_a_card_and_is_loaded_as_the_card_says(crosscoder, hub, tmp_path):
    crosscoder.save_pretrained(tmp_path)
    metrics = {"fve_base": 0.91234, "l0": 2.04, "held_out_tokens": 65536, "mean_nrn": 0.5, "masks": {"kept": 3}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    address = Crosscoder.from_pretrained(tmp_path).push_to_hub("someone/it", license="apache-2.0")
    assert address.endswith("/someone/it/commit/" + "0" * 40)
    assert sorted(hub.files) == ["README.md", "config.json", "crosscoder.safetensors"]
    card = ModelCard(hub.files["README.md"].decode())
    assert card.data.base_model == list(SOURCES)
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "distillation-crosscoders"
    assert {"crosscoder", "nnsight"} <= set(card.data.tags)
    for said in (
        "12 latents",
        "input of layer 14",
        "batchtopk, k 2",
        "| fraction of variance explained, base | 0.9123 |",
        "| latents firing per token | 2.04 |",
        "| held-out tokens that this was measured on | 65,536 |",
    ):
        assert said in card.text
    assert "nrn" not in card.text
    statements = {}
    code = card.text.partition("```python\n")[2].partition("```")[0]
    exec(code, statements | {"activations": torch.zeros(3, 2, 4)}, statements)
    assert torch.equal(statements["crosscoder"].W_dec.cpu(), crosscoder.W_dec)
    assert statements["codes"].shape == (3, 12)


def test_paths_of_a_machine_are_no_base_models_and_nothing_is_said_that_is_not_known(random_crosscoder):
    config = random_crosscoder(layers=(1, 2), sources=("/home/someone/base", "./distilled")).config
    card = model_card(config, "someone/it", metrics={}, license=None)
    assert card.data.base_model is None
    assert card.data.license is None
    assert "someone/base" not in str(card)
    assert "measured" not in card.text
    assert "inputs of layers 1, 2" in card.text
    assert "[token, 4, 32]: base_layer1, base_layer2, distilled_layer1, distilled_layer2" in card.text


def test_metrics_may_be_given(random_crosscoder, hub):
    random_crosscoder(models=("one",)).push_to_hub("someone/it", metrics={"l0": 3})
    text = hub.files["README.md"].decode()
    assert "| latents firing per token | 3 |" in text
    assert "A sparse autoencoder of 12 latents" in text
