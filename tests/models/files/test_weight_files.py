"""Weights are checked against their config by names and shapes, before any is read."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen3MoeConfig

from toolkit.models.files.loading import read_config
from toolkit.models.files.model_files import MAIN
from toolkit.models.files.weight_files import check_fit, weight_files

Change = Callable[[dict[str, torch.Tensor]], None]


def check(folder: Path, *, head: bool = True) -> None:
    check_fit(str(folder), read_config(str(folder)), MAIN, head=head)


@pytest.fixture
def copied(folders: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders[0], tmp_path / "model"))


@pytest.fixture
def changed(copied: Path) -> Callable[[Change], Path]:
    """A model whose tensors a function has changed."""

    def change(function: Change) -> Path:
        tensors = load_file(copied / "model.safetensors")
        function(tensors)
        save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
        return copied

    return change


@pytest.fixture
def sharded(copied: Path) -> Callable[[dict[str, str]], Path]:
    """A model in one shard, and an index in which some tensors are said to be elsewhere."""

    def shard(elsewhere: dict[str, str]) -> Path:
        names = load_file(copied / "model.safetensors")
        (copied / "model.safetensors").rename(copied / "model-1.safetensors")
        index = {"metadata": {}, "weight_map": dict.fromkeys(names, "model-1.safetensors") | elsewhere}
        (copied / "model.safetensors.index.json").write_text(json.dumps(index))
        return copied

    return shard


def test_weights_of_any_known_model_fit_their_config(any_folder: Path) -> None:
    check(any_folder)
    check(any_folder, head=False)


def test_experts_that_the_files_hold_one_by_one_fit(save_model: Callable[..., Path]) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "head_dim": 8}
    folder = save_model(Qwen3MoeConfig(**sizes, **experts, vocab_size=50))
    check(folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.experts.2.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="cannot load the weights of the model in"):
        check(folder)


def test_a_head_that_no_file_holds_is_missed_where_it_is_needed(changed: Callable[[Change], Path]) -> None:
    folder = changed(lambda tensors: tensors.pop("lm_head.weight"))
    check(folder, head=False)
    with pytest.raises(ValueError, match=r"lack 1 tensors, such as lm_head.weight: its config.json describes another"):
        check(folder)


def test_a_tied_head_is_no_tensor_of_its_own(changed: Callable[[Change], Path]) -> None:
    folder = changed(lambda tensors: tensors.pop("lm_head.weight"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    check(folder)


def test_a_late_layer_and_a_shape_that_differs_are_named(changed: Callable[[Change], Path]) -> None:
    folder = changed(lambda tensors: tensors.pop("model.layers.3.mlp.up_proj.weight"))
    with pytest.raises(ValueError, match=r"lack 1 tensors, such as model.layers.3.mlp.up_proj.weight"):
        check(folder)
    changed(lambda tensors: tensors.update({"model.layers.3.mlp.up_proj.weight": torch.zeros(3, 32)}))
    with pytest.raises(ValueError, match=r"up_proj.weight is \[3, 32\], and by config.json \[48, 32\]"):
        check(folder)


def test_old_checkpoints_are_checked_too(folders: tuple[Path, Path], copied: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    torch.save(tensors, copied / "pytorch_model.bin")
    check(copied)
    torch.save({name: each for name, each in tensors.items() if "head" not in name}, copied / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"such as lm_head\.weight"):
        check(copied)


def test_code_in_a_pickle_is_not_run(copied: Path, tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    (copied / "model.safetensors").unlink()
    torch.save({"model.embed_tokens.weight": Code()}, copied / "pytorch_model.bin")
    for protocol in (2, 4):
        with pytest.raises(ValueError, match=r"hold Python code or are damaged.*take a model with .safetensors files"):
            check(copied)
        (copied / "pytorch_model.bin").write_bytes(pickle.dumps(Code(), protocol=protocol))
    assert not (tmp_path / "ran").exists()


def test_shards_are_found_by_their_index(sharded: Callable[..., Path]) -> None:
    folder = sharded({})
    assert weight_files(str(folder), read_config(str(folder)), MAIN) == [folder / "model-1.safetensors"]
    check(folder)


@pytest.mark.parametrize("name", ["../outside.safetensors", "a/../../outside.safetensors", "/etc/passwd", ".."])
def test_an_index_that_names_a_file_elsewhere_is_refused(sharded: Callable[..., Path], name: str) -> None:
    folder = sharded({"lm_head.weight": name})
    shutil.copy(folder / "model-1.safetensors", folder.parent / "outside.safetensors")
    with pytest.raises(ValueError, match=r"which lies outside its folder: it is not read"):
        check(folder)


def test_a_link_out_of_the_folder_is_refused_and_one_into_the_hubs_blobs_is_not(sharded: Callable[..., Path]) -> None:
    folder = sharded({})
    target = folder.parent / "elsewhere.safetensors"
    (folder / "model-1.safetensors").rename(target)
    (folder / "model-1.safetensors").symlink_to(target)
    with pytest.raises(ValueError, match=r"model-1.safetensors leads to .*elsewhere.safetensors, outside its folder"):
        check(folder)
    snapshot, blobs = folder.parent / "models--a--b" / "snapshots" / "c0ffee", folder.parent / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate(sorted(folder.iterdir())):
        shutil.copy(file, blobs / f"{number}")
        snapshot.mkdir(parents=True, exist_ok=True)
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    check(snapshot)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "[]", "{"])
def test_an_index_of_another_form_is_refused(copied: Path, content: str) -> None:
    (copied / "model.safetensors").unlink()
    (copied / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match=r"model.safetensors.index.json (has no weight_map|holds list|is not JSON)"):
        check(copied)


def test_a_missing_shard_and_missing_weights_are_named(sharded: Callable[..., Path]) -> None:
    folder = sharded({"lm_head.weight": "model-2.safetensors"})
    with pytest.raises(ValueError, match=r"model-2.safetensors, which .*index.json names, is missing"):
        check(folder)
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(ValueError, match=r"no file of weights, such as model.safetensors"):
        check(folder)


@pytest.mark.parametrize("header", [2**40, 10**6, 3])
def test_a_header_that_lies_about_its_size_is_refused(copied: Path, header: int) -> None:
    content = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(header.to_bytes(8, "little") + content[8:])
    with pytest.raises(ValueError, match="cannot load the weights of the model in"):
        check(copied)


def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(copied: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**15], "data_offsets": [0, 4 * 10**15]}}).encode()
    (copied / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match="cannot load the weights of the model in"):
        check(copied)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_files_that_are_not_there_yet_are_told_apart(copied: Path, name: str, content: bytes) -> None:
    (copied / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is (empty: copy|a git-LFS pointer.*run `git lfs pull`)"):
        check(copied)
