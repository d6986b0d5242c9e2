"""A model that cannot be loaded says why, and what to do."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from toolkit.models.files.loading import load_config, load_model
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.where import Where

ON_CPU = Where(device_map="cpu")


@pytest.fixture
def copied(folders: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders[0], tmp_path / "model"))


@pytest.fixture
def not_root() -> Iterator[None]:
    """Root may read everything, so step down for the length of a test."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


@pytest.mark.parametrize("path", ["/no/such/model", "./no-such-model", "no/such/model"])
def test_a_missing_path(path: str) -> None:
    with pytest.raises(ValueError, match=rf"no model folder at '{path}'"):
        load_config(path)


def test_a_file_in_place_of_a_folder(copied: Path) -> None:
    with pytest.raises(ValueError, match="is a file: give the folder"):
        load_config(str(copied / "config.json"))


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no config"):
        load_config(str(tmp_path))


def test_an_unreadable_folder(copied: Path, not_root: None) -> None:
    with pytest.raises(ValueError, match=r"no permission to read '.*model'"):
        load_config(str(copied))


def test_a_hub_name_without_a_network() -> None:
    with pytest.raises(ValueError, match=r"'some-lab/some-model'.*HF_HUB_OFFLINE is set.*path of its folder"):
        load_config("some-lab/some-model")


def test_a_config_that_is_no_json(copied: Path) -> None:
    (copied / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"cannot load the config of the model in '.*model'"):
        load_config(str(copied))


def test_truncated_weights(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cannot load the weights of the model in '.*model'"):
        load_model(str(copied), load_tokenizer(str(copied)), ON_CPU)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("name", "depth"), [("model.embed_tokens.weight", 0), ("model.layers.3.mlp.up_proj.weight", None)]
)
def test_weights_that_are_no_numbers_are_named(copied: Path, name: str, depth: int | None, value: float) -> None:
    weights = load_file(copied / "model.safetensors")
    weights[name][1, 2] = value
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    named = name if depth is None else name.removeprefix("model.")
    with pytest.raises(ValueError, match=rf"the model in '.*model' holds NaN or infinity in 1 of .*, such as {named}:"):
        load_model(str(copied), load_tokenizer(str(copied)), ON_CPU, depth=depth)


def test_weights_that_are_not_loaded_may_be_anything(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    weights["model.layers.3.mlp.up_proj.weight"][:] = float("nan")
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    load_model(str(copied), load_tokenizer(str(copied)), ON_CPU, depth=2)


def test_a_folder_without_a_tokenizer(copied: Path) -> None:
    for file in copied.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"the model in '.*model' has no tokenizer.json"):
        load_tokenizer(str(copied))
