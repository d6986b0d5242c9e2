"""Steering vectors come back from their file, and steer in lm-evaluation-harness as they do here."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from toolkit.artifacts import DiskFullError
from toolkit.interventions.clamping import SetLatent
from toolkit.interventions.edits import shift, splice, steer
from toolkit.interventions.steering_files import export_lm_eval, load_steering_vector, save_steering_vector
from toolkit.models.files.loading import load_model
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.model.edits import Edit
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.here import Here
from toolkit.models.where import Where

IDS = torch.tensor([[1, 2, 3, 4], [9, 8, 7, 6]])


def vector(seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def any_model(any_folder: Path) -> TracedModel:
    tokenizer = load_tokenizer(str(any_folder))
    return TracedModel(Here(load_model(str(any_folder), tokenizer, Where())))


def test_a_saved_edit_is_read_back_with_what_made_it(tiny_pair, random_crosscoder, tmp_path: Path) -> None:
    edit = steer(random_crosscoder(scale=(1.0, 1.0)), latent=3, strength=0.5)
    save_steering_vector(edit, tmp_path / "new" / "v.safetensors", tiny_pair.distilled, latent=3, strength=0.5)
    stream = torch.randn(2, 5, 32)
    again = load_steering_vector(str(tmp_path / "new" / "v.safetensors"))
    assert again.layers == (2,)
    assert torch.equal(again(stream), edit(stream))
    with safe_open(tmp_path / "new" / "v.safetensors", "pt") as file:
        about = file.metadata()
    assert (about["latent"], about["strength"]) == ("3", "0.5")
    assert (about["model"], about["site"]) == (tiny_pair.distilled.source, "input of decoder layer 2")


def test_a_sum_is_saved_as_one_vector_for_each_layer(tiny_pair, tmp_path: Path) -> None:
    model, file = tiny_pair.distilled, tmp_path / "v.safetensors"
    edit = shift(3, vector(1)) + shift(1, vector(2)) + shift(3, vector(3))
    save_steering_vector(edit, file, model)
    again = load_steering_vector(file)
    assert sorted(again.layers) == [1, 3]
    torch.testing.assert_close(model.logits(IDS, edit=again), model.logits(IDS, edit=edit))


@pytest.mark.parametrize("coefficient", [1.0, 0.0])
def test_lm_eval_steers_as_the_edit_does(any_folder: Path, any_model, tmp_path: Path, coefficient: float) -> None:
    edit = shift(2, vector(1)) + shift(1, vector(2, 0.5))
    export_lm_eval(edit, tmp_path / "steered.pt", any_model)
    steered: dict[str, Any] = torch.load(tmp_path / "steered.pt", weights_only=True)
    module = AutoModelForCausalLM.from_pretrained(any_folder).eval()
    modules = dict(module.base_model.named_modules())
    for name, entry in steered.items():  # as lm-evaluation-harness 0.4.13 does in models/hf_steered.py
        assert (entry["action"], entry["bias"], entry["head_index"]) == ("add", None, None)
        modules[name].register_forward_hook(adding(entry["steering_vector"] * coefficient))
    expected = any_model.logits(IDS, edit=edit if coefficient else None).cpu()
    assert {entry["steering_coefficient"] for entry in steered.values()} == {1.0}
    with torch.no_grad():
        torch.testing.assert_close(module(IDS).logits, expected)
    assert not torch.allclose(any_model.logits(IDS, edit=edit), any_model.logits(IDS))


def adding(vector: torch.Tensor) -> Any:
    """A hook that adds a vector to a module's output, or to the first of its outputs."""
    return lambda _module, _input, out: (out[0] + vector, *out[1:]) if isinstance(out, tuple) else out + vector


def test_what_is_no_constant_vector_is_refused(tiny_pair, random_crosscoder, tmp_path: Path) -> None:
    model, one = tiny_pair.distilled, shift(2, vector(1))
    refused = {
        "what it adds depends on the text": SetLatent(tiny_pair, random_crosscoder(), latent=3, value=0.0),
        "it changes some positions only": splice(2, torch.zeros(1, 32), torch.ones(1, 4).bool()),
        "it adds another vector to each row": shift(2, torch.zeros(2, 32)),
        "it does more than add a vector": Edit(layer=2, function=torch.mul, operands=(torch.zeros(1, 1, 32),)),
        "width 16, and .* has width 32": shift(2, torch.zeros(16)),
        "layer 7 is out of range": shift(7, vector(1)),
    }
    for why, edit in refused.items():
        for write, name in ((save_steering_vector, "v.safetensors"), (export_lm_eval, "v.pt")):
            with pytest.raises(ValueError, match=why):
                write(one + edit, tmp_path / name, model)
    assert not list(tmp_path.iterdir())


def test_lm_eval_takes_no_edit_at_layer_0_and_no_other_suffix(tiny_pair, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at layer 0, .* steer at layer 1 or later"):
        export_lm_eval(shift(0, vector(1)), tmp_path / "v.pt", tiny_pair.distilled)
    with pytest.raises(ValueError, match=r"v\.safetensors: .* ends in \.pt"):
        export_lm_eval(shift(2, vector(1)), tmp_path / "v.safetensors", tiny_pair.distilled)


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({}, "holds no tensor: expected steering vectors, called layers.3.input"),
        ({"v": torch.zeros(4)}, r"holds v \[4\]: expected"),
        ({"layers.1.input": torch.zeros(1, 4)}, r"holds layers\.1\.input \[1, 4\]: expected"),
        ({"layers.1.input": torch.zeros(4), "layers.2.input": torch.zeros(5)}, r"holds layers\.1\.input \[4\], layers"),
        ({"layers.1.input": torch.full((4,), torch.nan)}, "holds NaN or infinity"),
    ],
)
def test_other_files_are_refused(tensors: dict[str, torch.Tensor], why: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "v.safetensors")
    with pytest.raises(ValueError, match=why):
        load_steering_vector(tmp_path / "v.safetensors")


def test_a_full_disk_is_said_and_leaves_what_was_there(tiny_pair, tmp_path: Path, small_disk) -> None:
    file, model = tmp_path / "v.safetensors", tiny_pair.distilled
    save_steering_vector(shift(2, vector(1)), file, model)
    before = file.read_bytes()
    with small_disk(), pytest.raises(DiskFullError, match=r"no room left to write to .*: free some space"):
        save_steering_vector(shift(2, vector(1)), file, model, latent=range(2000))
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [before]
