"""Published checkpoints: the transcoders alone are read, and the models must be those that the file holds."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.opening import open_adapter
from toolkit.dictionaries.adapter_storage import load_adapter, save_adapter
from toolkit.dictionaries.transcoders import Adapter
from toolkit.models.where import Where

IDS = torch.tensor([[40, 3, 7, 1, 9, 2]])
MASK = torch.ones_like(IDS)


def test_transcoders_are_read_from_shards_as_they_were_published(
    publish: Callable[..., Path], adapter: Adapter
) -> None:
    found = open_adapter(publish())
    for name, tensor in adapter.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor, rtol=0, atol=0)
    assert [line.split(":")[0] for line in found.config.assumptions] == ["format", "models", "L0"]


def test_the_adapted_model_computes_what_the_published_class_computes(
    publish: Callable[..., Path], bf16_pair: tuple[Path, Path], adapter: Adapter
) -> None:
    base, distilled = bf16_pair
    adapted = AdaptedModel.from_pretrained(
        base=base, distilled=distilled, adapter=open_adapter(publish()), where=Where(dtype="float32")
    )
    expected = AutoModelForCausalLM.from_pretrained(distilled, dtype=torch.float32).eval()
    theirs = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    for layer, other, part in zip(expected.model.layers, theirs.model.layers, adapter.transcoders, strict=True):
        layer.mlp = _Published(other.mlp, part)
    with torch.no_grad():
        logits = expected(IDS, attention_mask=MASK).logits
    torch.testing.assert_close(adapted.adapter.logits(IDS, MASK).cpu(), logits, rtol=1e-4, atol=1e-5)


class _Published(torch.nn.Module):
    """The MLP of the published class, as its authors write it."""

    def __init__(self, mlp: torch.nn.Module, part: object) -> None:
        super().__init__()
        self.mlp, self.part = mlp, part

    def forward(self, x: Tensor) -> Tensor:
        features = torch.relu(torch.nn.functional.linear(x, self.part.W_enc, self.part.b_enc))
        return self.mlp(x) + torch.nn.functional.linear(features, self.part.W_dec.t(), self.part.b_dec)


def test_an_adapter_saved_again_still_knows_its_models(publish: Callable[..., Path], tmp_path: Path) -> None:
    found = open_adapter(publish())
    save_adapter(found, tmp_path / "own")
    assert load_adapter(tmp_path / "own").config == found.config
    assert open_adapter(tmp_path / "own").config == found.config


def _change_layer(tensors: dict[str, Tensor], name: str) -> None:
    tensors[name] = tensors[name] + 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.layers.2.mlp.up_proj.weight", "layer 2: the MLP of the base model"),
        ("model.layers.1.self_attn.k_proj.bias", "layer 1: the attention or norms of the distilled model"),
        ("lm_head.weight", "the embeddings, last norm or head of the distilled model"),
    ],
)
def test_a_checkpoint_of_other_models_is_refused_by_its_first_layer_that_differs(
    publish: Callable[..., Path], bf16_pair: tuple[Path, Path], name: str, said: str
) -> None:
    adapter = open_adapter(publish(lambda tensors, _: _change_layer(tensors, name)))
    base, distilled = bf16_pair
    with pytest.raises(ValueError, match=said):
        AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter)
    AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter, other_models=True)


def test_a_head_that_a_checkpoint_lost_is_noticed(publish: Callable[..., Path], bf16_pair: tuple[Path, Path]) -> None:
    """As where the base model's config was taken, which ties the head to the embedding."""

    def lose(tensors: dict[str, Tensor], settings: dict[str, object]) -> None:
        del tensors["lm_head.weight"]
        settings["tie_word_embeddings"] = True

    with pytest.raises(ValueError, match="embeddings, last norm or head of the distilled model"):
        AdaptedModel.from_pretrained(base=bf16_pair[0], distilled=bf16_pair[1], adapter=open_adapter(publish(lose)))


def test_models_in_memory_are_compared_too(publish: Callable[..., Path], bf16_pair: tuple[Path, Path]) -> None:
    adapter = open_adapter(publish())
    base, distilled = (AutoModelForCausalLM.from_pretrained(each, dtype=torch.bfloat16).eval() for each in bf16_pair)
    AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter)
    with torch.no_grad():
        base.model.layers[3].mlp.down_proj.weight += 1
    with pytest.raises(ValueError, match="layer 3: the MLP of the base model"):
        AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter)


def test_a_checkpoint_without_decoder_bias_has_none(publish: Callable[..., Path]) -> None:
    def without(tensors: dict[str, Tensor], settings: dict[str, object]) -> None:
        settings["transcoder_dec_bias"] = False
        for layer in range(4):
            del tensors[f"model.layers.{layer}.mlp.transcoder_dec.bias"]

    assert not any(part.b_dec.any() for part in open_adapter(publish(without)).transcoders)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors, _: tensors.pop("model.layers.1.mlp.transcoder_enc.bias"), r"layers.1.b_enc is missing"),
        (lambda _, settings: settings.update(transcoder_n_features=25), r"layers.0.W_dec is \(24, 32\), and should be"),
        (lambda _, settings: settings.pop("transcoder_n_features"), "transcoder_n_features in the config.json"),
        (lambda _, settings: settings.update(architectures=["Qwen2ForCausalLM"]), "a model without transcoders"),
        (lambda tensors, _: tensors["model.layers.0.mlp.transcoder_enc.bias"].fill_(torch.nan), "NaN"),
    ],
)
def test_a_damaged_checkpoint_is_refused(publish: Callable[..., Path], change: Callable[..., None], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        open_adapter(publish(change))
