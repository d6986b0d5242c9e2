"""Any number of models, by name, are read as one tensor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig

from toolkit.interventions.edits import shift
from toolkit.models.model_set import ModelSet
from toolkit.models.pair import ModelPair
from toolkit.models.where import Where

pytestmark = pytest.mark.filterwarnings("ignore:.* are the same weights")  # two models will do for three

Batch = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def three(folders: tuple[Path, Path]) -> dict[str, str]:
    return {"base": str(folders[0]), "distilled": str(folders[1]), "control": str(folders[0])}


@pytest.mark.parametrize("where", ["cpu", Where(device_map="cpu", sequential=True)], ids=["together", "one at a time"])
def test_three_models_read_what_each_reads(
    three: dict[str, str], tiny_pair: ModelPair, batch: Batch, where: Any
) -> None:
    models = ModelSet.from_pretrained(three, layers=[1, 2], where=where)
    pair = ModelPair.from_pretrained(base=three["base"], distilled=three["distilled"], layers=[1, 2], where="cpu")
    assert models.names == ("base", "distilled", "control")
    rows = (*batch, batch[1].bool())
    two = pair.selected(*rows)
    expected = torch.cat([two, two[:, :2]], dim=1)
    assert torch.equal(models.selected(*rows), expected)
    ((number, read),) = models.selected_each([(7, rows)])
    assert number == 7
    assert torch.equal(read, expected)
    assert torch.equal(models.residual(*batch)[batch[1].bool()], expected)


def test_one_model_is_a_set_too(three: dict[str, str], here_pair: ModelPair) -> None:
    one = ModelSet.from_pretrained({"base": three["base"]}, layers=2, where="cpu")
    assert torch.equal(one.read("w1 w2 w3"), here_pair.read("w1 w2 w3")[:, :1])


def test_an_edit_is_made_in_every_model(three: dict[str, str], batch: Batch) -> None:
    models = ModelSet.from_pretrained(three, layers=[1, 2], where="cpu")
    edit = shift(1, torch.ones(32))
    read = models.residual(*batch, edit=edit)
    each = [site for model in models.models.values() for site in model.residual(*batch, (1, 2), edit=edit)]
    assert torch.equal(read, torch.stack(each, dim=2))
    assert not torch.equal(models.read("w1 w2"), models.read("w1 w2", edit=edit))
    assert torch.equal(models.read("w1 w2", 2, edit=edit), models.residual("w1 w2", layers=2, edit=edit)[0])


def test_a_text_is_read_and_given_logits_as_its_ids_are(tiny_pair: ModelPair) -> None:
    ids = tiny_pair.tokenizer("w1 w2 w3")["input_ids"]
    assert torch.equal(tiny_pair.base.logits("w1 w2 w3"), tiny_pair.base.logits([ids]))
    (ours,), (theirs,) = (tiny_pair.base.residual(text, layers=2) for text in ("w1 w2 w3", [ids]))
    assert torch.equal(ours, theirs)


def test_three_models_on_ndif(three: dict[str, str], batch: Batch, ndif: object) -> None:
    where = Where(remote=True, wire="fp32")
    there = ModelSet.from_pretrained(three, layers=2, where=where)
    here = ModelSet.from_pretrained(three, layers=2, where="cpu")
    rows = (*batch, batch[1].bool())
    torch.testing.assert_close(there.selected(*rows).cpu(), here.selected(*rows), rtol=1e-5, atol=1e-5)


def test_the_model_that_differs_is_named(three: dict[str, str], save_model: Callable[..., Path]) -> None:
    wide = save_model(AutoConfig.from_pretrained(three["base"], hidden_size=64))
    with pytest.raises(ValueError, match=r"width \(d_model\): base has 32, control 64"):
        ModelSet.from_pretrained(three | {"control": str(wide)}, where="cpu")


def test_each_model_writes_under_plain_keywords(three: dict[str, str]) -> None:
    models = ModelSet.from_pretrained(three, where="cpu")
    how = {"new_tokens": 4, "temperature": 1.0, "top_p": 0.9, "top_k": 20, "seed": 3}
    written = models.generate("w1 w2", **how)
    assert written["base"] == written["control"] == models.models["base"].generate("w1 w2", **how)
    several = models.models["base"].generate(["w1 w2", "w3"], **how)
    assert several[0] == written["base"]
    assert several == models.models["base"].generate(["w1 w2", "w3"], **(how | {"seed": 0, "seeds": (3, 4)}))
    with pytest.raises(TypeError, match="unknown keyword 'max_new_tokens': give edit, attention_mask, new_tokens,"):
        models.generate("w1 w2", max_new_tokens=4)


def test_it_says_what_it_is(three: dict[str, str]) -> None:
    models = ModelSet.from_pretrained(three, layers=2, where="cpu")
    assert repr(models).splitlines() == [
        f"ModelSet base {three['base']}, distilled {three['distilled']}, control {three['control']}, on cpu:",
        "  layers 2 of 4, d_model 32, 50 ids, context 64",
    ]
    assert repr(models.models["base"]).splitlines() == [
        f"TracedModel {three['base']}, on cpu:",
        "  4 layers, d_model 32, 50 ids, context 64",
    ]
