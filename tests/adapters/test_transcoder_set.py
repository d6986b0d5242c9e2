"""The export for circuit-tracer holds the adapter, under the names and in the order of axes that it reads."""

from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file

from toolkit.adapters.transcoder_set import export_transcoder_set
from toolkit.dictionaries.transcoders import Adapter


def test_each_layers_file_computes_what_the_transcoder_does(adapter: Adapter, tmp_path: Path) -> None:
    folder = export_transcoder_set(adapter, tmp_path / "set", model_name="org/distilled")
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    assert settings["model_kind"] == "transcoder_set"
    assert (settings["model_name"], settings["feature_input_hook"]) == ("org/distilled", "mlp.hook_in")
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    assert len(settings["transcoders"]) == 4
    for part, path in zip(adapter.transcoders, settings["transcoders"], strict=True):
        tensors = load_file(path)
        assert {name: tuple(each.shape) for name, each in tensors.items()} == {
            "W_enc": (24, 32), "W_dec": (24, 32), "b_enc": (24,), "b_dec": (32,),
        }  # fmt: skip
        codes = torch.relu(x @ tensors["W_enc"].t() + tensors["b_enc"])
        torch.testing.assert_close(codes @ tensors["W_dec"], part.decode(part.encode(x)))
        torch.testing.assert_close(tensors["b_dec"], part.b_dec.data)


def test_the_model_is_by_default_the_distilled_one(adapter: Adapter, tmp_path: Path) -> None:
    settings = yaml.safe_load((export_transcoder_set(adapter, tmp_path) / "config.yaml").read_text())
    assert settings["model_name"] == ""
    assert settings["scan"] == tmp_path.name
