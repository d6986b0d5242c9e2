"""An adapter is written and read again as it was; files of something else are refused."""

import json
from pathlib import Path

import pytest
import torch

from toolkit.dictionaries.adapter_storage import load_adapter, save_adapter
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig

CONFIG = AdapterConfig(d_model=6, n_layers=2, n_latents=8, sources=("a", "b"), fingerprints=("1", "2"))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_adapter(Adapter.initialised(CONFIG, torch.Generator().manual_seed(0)), tmp_path)
    return tmp_path


def test_an_adapter_is_read_as_it_was_written(saved: Path) -> None:
    found = load_adapter(saved)
    expected = Adapter.initialised(CONFIG, torch.Generator().manual_seed(0))
    assert found.config == CONFIG
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor, rtol=0, atol=0)


def test_encoders_start_uniform_within_one_over_root_d_and_all_else_at_zero(saved: Path) -> None:
    tensors = load_adapter(saved).state_dict()
    assert 0.9 / 6**0.5 < tensors["layers.0.W_enc"].abs().max() <= 1 / 6**0.5
    assert all(not each.any() for name, each in tensors.items() if "W_enc" not in name)


def test_changed_weights_are_refused(saved: Path) -> None:
    content = bytearray((saved / "adapter.safetensors").read_bytes())
    content[-1] ^= 1
    (saved / "adapter.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="sha256"):
        load_adapter(saved)


def test_another_shape_is_refused(saved: Path) -> None:
    settings = json.loads((saved / "config.json").read_text())
    settings["adapter"]["n_latents"] = 9
    del settings["sha256"]
    (saved / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="does not hold this adapter"):
        load_adapter(saved)


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="an adapter is"):
        load_adapter(tmp_path)
