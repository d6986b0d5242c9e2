"""One door for adapters: what each kind of folder holds is read, or told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.adapters.opening import adapter_files, open_adapter
from toolkit.artifacts import sha256
from toolkit.dictionaries.adapter_storage import save_adapter
from toolkit.dictionaries.transcoders import Adapter
from toolkit.models.files.model_files import Checkpoint


def test_own_folders_are_opened_and_hashed(adapter: Adapter, tmp_path: Path) -> None:
    save_adapter(adapter, tmp_path)
    assert open_adapter(tmp_path).config == adapter.config
    assert open_adapter(str(tmp_path)).config == adapter.config
    assert adapter_files(tmp_path) == {str(tmp_path / "adapter.safetensors"): sha256(tmp_path / "adapter.safetensors")}


def test_all_shards_of_a_published_checkpoint_are_hashed(publish: Callable[..., Path]) -> None:
    folder = publish()
    assert adapter_files(folder) == {str(file): sha256(file) for file in sorted(folder.glob("*.safetensors"))}


def test_a_folder_of_something_else_is_told(tmp_path: Path, random_crosscoder: Callable[..., object]) -> None:
    random_crosscoder().save_pretrained(tmp_path / "crosscoder")
    with pytest.raises(ValueError, match="holds a crosscoder, no adapter: give it to a recipe"):
        open_adapter(tmp_path / "crosscoder")
    with pytest.raises(FileNotFoundError, match=r"holds no adapter: an adapter is a folder with adapter.safetensors"):
        open_adapter(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist: an adapter is a folder"):
        open_adapter(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"config.json is a file: an adapter is a folder"):
        open_adapter(tmp_path / "crosscoder" / "config.json")
    with pytest.raises(ValueError, match="is a version on the hub"):
        open_adapter(Checkpoint(tmp_path, revision="v1"))
    with pytest.raises(ValueError, match="'nobody/nothing' is no local folder"):
        open_adapter("nobody/nothing")
