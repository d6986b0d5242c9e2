"""Every layout in which a model's files are found: the fingerprint follows what transformers loads."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from toolkit.artifacts import sha256
from toolkit.library_warnings import ToolkitWarning
from toolkit.models.files.identity import (
    file_hashes,
    fingerprint,
    fingerprint_of_module,
    hashing_beside,
    same_weights,
)
from toolkit.models.pair import ModelPair

Tensors = dict[str, torch.Tensor]
HUB = "nobody/tiny"


@pytest.fixture
def folder(folders: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of a model, of one safetensors file."""
    return Path(shutil.copytree(folders[0], tmp_path / "model"))


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def write_index(folder: Path, name: str, halves: dict[str, Tensors]) -> None:
    weight_map = {tensor: file for file, tensors in halves.items() for tensor in tensors}
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def write_single(folder: Path, tensors: Tensors) -> None:
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_bin(folder: Path, tensors: Tensors) -> None:
    torch.save(tensors, folder / "pytorch_model.bin")


def halves_of(tensors: Tensors, first: str, second: str) -> dict[str, Tensors]:
    names = sorted(tensors)
    return {
        first: {name: tensors[name] for name in names[::2]},
        second: {name: tensors[name] for name in names[1::2]},
    }


def write_shards(folder: Path, tensors: Tensors, first: str = "a.safetensors", second: str = "b.safetensors") -> None:
    halves = halves_of(tensors, first, second)
    for file, half in halves.items():
        (folder / file).parent.mkdir(exist_ok=True)
        save_file(half, folder / file, metadata={"format": "pt"})
    write_index(folder, "model.safetensors.index.json", halves)


def write_bin_shards(folder: Path, tensors: Tensors) -> None:
    halves = halves_of(tensors, "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    for file, half in halves.items():
        torch.save(half, folder / file)
    write_index(folder, "pytorch_model.bin.index.json", halves)


def write_named(folder: Path, tensors: Tensors) -> None:
    save_file(tensors, folder / "of_another_name.safetensors", metadata={"format": "pt"})
    change_config(folder, transformers_weights="of_another_name.safetensors")


LAYOUTS = [write_single, write_shards, write_bin, write_bin_shards, write_named]


@pytest.mark.parametrize("write", LAYOUTS)
def test_a_fingerprint_changes_with_the_weights_and_with_nothing_else(
    folder: Path, write: Callable[[Path, Tensors], None], tmp_path: Path
) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    write(folder, tensors)
    before = fingerprint(str(folder))
    copy = shutil.copytree(folder, tmp_path / "copy")
    change_config(copy, transformers_version="4.0", _name_or_path="elsewhere", architectures=["Another"])
    for name in ("optimizer.pt", "training_args.bin", "generation_config.json", "README.md"):
        (copy / name).write_text("{}")
    assert fingerprint(str(copy)) == before

    last = sorted(tensors)[-1]
    write(folder, tensors | {last: tensors[last] + 1})
    assert fingerprint(str(folder)) != before
    assert len({*file_hashes(str(folder)).values(), *file_hashes(str(copy)).values()}) > len(file_hashes(str(copy)))


@pytest.mark.parametrize("read", range(len(LAYOUTS) - 1))
def test_the_files_are_those_that_transformers_reads(folder: Path, read: int) -> None:
    """All layouts in one folder, each with other weights: which are loaded, and which are hashed?"""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    name = "model.embed_tokens.weight"
    for number, write in enumerate(LAYOUTS[:-1]):
        if number >= read:
            write(folder, tensors | {name: torch.full_like(tensors[name], float(number))})
    loaded = AutoModelForCausalLM.from_pretrained(folder).state_dict()[name]
    assert loaded.unique().tolist() == [read]
    before = fingerprint(str(folder))
    for number, write in enumerate(LAYOUTS[:-1]):
        write_it = number > read
        if write_it:
            write(folder, tensors)
    assert fingerprint(str(folder)) == before
    LAYOUTS[read](folder, tensors)
    assert fingerprint(str(folder)) != before


def test_shards_of_other_names_are_the_same_weights(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    write_shards(folder, tensors)
    write_shards(other, tensors, first="z.safetensors", second="parts/1.safetensors")
    assert fingerprint(str(folder)) == fingerprint(str(other))
    assert len(file_hashes(str(other))) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"rms_norm_eps": 1e-5},
        {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}},
        {"tie_word_embeddings": True},
        {"num_attention_heads": 2},
        {"hidden_act": "gelu"},
        {"dtype": "bfloat16"},
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    ],
)
def test_settings_that_change_what_is_computed_belong_to_it(folder: Path, change: dict[str, object]) -> None:
    before = fingerprint(str(folder))
    change_config(folder, **change)
    assert fingerprint(str(folder)) != before


def test_defaults_that_are_written_out_change_nothing(folder: Path) -> None:
    before = fingerprint(str(folder))
    config = json.loads((folder / "config.json").read_text())
    for name in ("hidden_act", "use_cache", "attention_dropout", "use_sliding_window", "transformers_version"):
        config.pop(name)
    (folder / "config.json").write_text(json.dumps(config))
    assert fingerprint(str(folder)) == before


def test_an_adapter_and_what_it_adapts_belong_to_the_weights(
    folder: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(str(folder))
    save_file({"lora": torch.ones(2)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(folders[1])}))
    assert fingerprint(str(folder)) == before  # without peft, transformers does not look at it
    monkeypatch.setattr("toolkit.models.files.identity.is_peft_available", lambda: True)
    adapted = fingerprint(str(folder))
    assert adapted != before
    names = sorted(Path(path).relative_to(folder.parent.parent) for path in file_hashes(str(folder)) if "model" in path)
    assert len(names) == 3
    save_file({"lora": torch.zeros(2)}, folder / "adapter_model.safetensors")
    assert fingerprint(str(folder)) not in (before, adapted)


def in_hub_cache(model: Path, cache: Path, commit: str) -> Path:
    """Lay a model out as the hub's cache does, and return the snapshot."""
    repository = cache / f"models--{HUB.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot.mkdir(parents=True)
    for path in model.iterdir():
        blob = repository / "blobs" / f"{commit[:4]}-{path.name}"
        blob.parent.mkdir(exist_ok=True)
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(blob)
    return snapshot


def test_a_model_from_the_hub_is_its_commit_and_its_content(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = in_hub_cache(folder, tmp_path, "a" * 40)
    first = fingerprint(HUB)
    assert first == f"commit {'a' * 40}, {fingerprint(str(folder))}"
    assert file_hashes(HUB) == {HUB: f"commit {'a' * 40}"} | file_hashes(str(snapshot))
    tensors = load_file(snapshot / "model.safetensors")
    write_single(snapshot.resolve(), {name: tensor + 1 for name, tensor in tensors.items()})
    assert fingerprint(HUB) != first
    in_hub_cache(folder, tmp_path, "b" * 40)
    assert fingerprint(HUB) == f"commit {'b' * 40}, {fingerprint(str(folder))}"


def test_a_file_that_stays_is_hashed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "model.safetensors"
    os.utime(path, (1, 1))
    before = fingerprint(str(folder))
    monkeypatch.setattr("toolkit.models.files.identity.sha256", lambda _: "read again")
    assert fingerprint(str(folder)) == before
    os.utime(path, (2, 2))
    assert fingerprint(str(folder)) != before


def test_files_are_hashed_while_other_work_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(folder / "model.safetensors", (3, 3))
    hashed = threading.Event()
    monkeypatch.setattr("toolkit.models.files.identity.sha256", lambda path: hashed.set() or sha256(path))
    with hashing_beside([str(folder), str(folder / "nowhere")]):  # fingerprint() will say that nothing is there
        assert hashed.wait(60)
    monkeypatch.setattr("toolkit.models.files.identity.sha256", lambda _: "read again")
    assert "read again" not in file_hashes(str(folder)).values()
    with pytest.raises(ValueError, match="nowhere"):
        fingerprint(str(folder / "nowhere"))


def test_no_file_is_begun_once_the_other_work_has_failed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed, failing = [], threading.Event()

    def hash_slowly(path: Path) -> None:
        hashed.append(path)
        assert failing.wait(60)
        time.sleep(0.5)

    def fail() -> None:
        failing.set()
        raise ValueError("cannot be loaded")

    monkeypatch.setattr("toolkit.models.files.identity._files", lambda *_: folder.iterdir())
    monkeypatch.setattr("toolkit.models.files.identity._hash", hash_slowly)
    with pytest.raises(ValueError, match="cannot be loaded"), hashing_beside([str(folder)]):
        fail()
    assert len(hashed) <= 1 < len(list(folder.iterdir()))


def test_a_model_in_memory_has_one_too(folders: tuple[Path, Path]) -> None:
    first, again, other = (AutoModelForCausalLM.from_pretrained(each) for each in (folders[0], folders[0], folders[1]))
    assert fingerprint_of_module(first) == fingerprint_of_module(again) != fingerprint_of_module(other)
    again.config.rms_norm_eps = 0.1
    assert fingerprint_of_module(first) != fingerprint_of_module(again)
    with torch.no_grad():
        next(first.bfloat16().parameters()).view(-1)[0] += 1
    assert fingerprint_of_module(first) != fingerprint_of_module(again)


def test_one_model_twice_is_said_before_it_is_read(folder: Path, folders: tuple[Path, Path]) -> None:
    assert not same_weights(*map(str, folders))
    assert same_weights(HUB, HUB)
    assert not same_weights(HUB, str(folder))
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    change_config(folder, transformers_weights="a.safetensors", rms_norm_eps=0.1)
    with pytest.warns(ToolkitWarning, match="base and distilled are the same weights"):
        ModelPair.from_pretrained(base=str(folders[0]), distilled=str(folder), where="cpu")
