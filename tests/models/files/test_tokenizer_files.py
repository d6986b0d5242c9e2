"""Tokenizers in every layout that models come with."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer, Qwen2Tokenizer

from toolkit.models.files.model_files import MAIN
from toolkit.models.files.tokenizer_files import load_tokenizer, load_tokenizers

TEXT = "Wait, is that 24+5?"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n"


@pytest.fixture
def copied(organism_folders: tuple[str, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(organism_folders[0], tmp_path / "model"))


@pytest.fixture
def slow(copied: Path) -> Path:
    """A model whose tokenizer lies in the older layout."""
    core = json.loads((copied / "tokenizer.json").read_text())["model"]
    (copied / "vocab.json").write_text(json.dumps(core["vocab"]))
    merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in core["merges"])
    (copied / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges))
    (copied / "tokenizer.json").unlink()
    return copied


@pytest.mark.parametrize("settings", [{"tokenizer_class": "Qwen2Tokenizer"}, {}, None])
def test_vocabulary_and_merges_are_read(slow: Path, settings: dict[str, str] | None) -> None:
    (slow / "tokenizer_config.json").unlink()
    if settings is not None:
        (slow / "tokenizer_config.json").write_text(json.dumps(settings))
    truth = Qwen2Tokenizer(vocab=f"{slow}/vocab.json", merges=f"{slow}/merges.txt")
    tokenizer = load_tokenizer(str(slow))
    assert tokenizer(TEXT)["input_ids"] == truth(TEXT)["input_ids"]
    assert tokenizer.is_fast


def test_tokenizer_json_alone_is_enough(copied: Path, organism_folders: tuple[str, str]) -> None:
    whole = load_tokenizer(organism_folders[0])
    for name in ("tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"):
        (copied / name).unlink(missing_ok=True)
    assert load_tokenizer(str(copied))(TEXT)["input_ids"] == whole(TEXT)["input_ids"]


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_chat_template_lies_in_a_file_or_in_the_config(copied: Path, place: str) -> None:
    (copied / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((copied / "tokenizer_config.json").read_text()) | {"chat_template": "in the config"}
    if place == "chat_template.jinja":
        del settings["chat_template"]
        (copied / place).write_text("in a file")
    (copied / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_tokenizer(str(copied)).chat_template == ("in a file" if "jinja" in place else "in the config")


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_tokenizer_in_one_of_two_folders_serves_both(
    copied: Path, organism_folders: tuple[str, str], lacking: int
) -> None:
    for file in (*copied.glob("tokenizer*"), *copied.glob("chat_template*")):
        file.unlink()
    sources = [str(copied), organism_folders[1]][:: 1 - 2 * lacking]
    with pytest.warns(UserWarning, match=r"model' holds no tokenizer: another model's is used for it too"):
        first, second = load_tokenizers(sources, [MAIN, MAIN])
    assert first is second


def test_no_tokenizer_in_either_folder(copied: Path) -> None:
    for file in copied.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"model' has no tokenizer.json, nor any of vocab.json, .*Copy"):
        load_tokenizers([str(copied), str(copied)], [MAIN, MAIN])


@pytest.mark.parametrize("content", [b"", LFS, b"{", b"{}"])
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_damaged_files_are_named(copied: Path, name: str, content: bytes) -> None:
    (copied / name).write_bytes(content)
    if (name, content) == ("tokenizer_config.json", b"{}"):
        assert load_tokenizer(str(copied))(TEXT)["input_ids"]
        return
    said = {b"": f"{name} is empty", LFS: f"{name} is a git-LFS pointer"}.get(content, "cannot load the tokenizer")
    with pytest.raises(ValueError, match=said):
        load_tokenizer(str(copied))


@pytest.mark.parametrize("name", ["merges.txt", "vocab.json"])
def test_half_of_the_older_layout_is_refused(slow: Path, name: str) -> None:
    (slow / name).unlink()
    with pytest.raises(ValueError, match=r"cannot load the tokenizer of the model in|has no tokenizer.json"):
        load_tokenizer(str(slow))


def test_packages_that_a_vocabulary_needs_are_named(copied: Path) -> None:
    (copied / "tokenizer.json").unlink()
    (copied / "tokenizer.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02")
    with pytest.raises(ValueError, match=r"to read tokenizer.model are missing: `pip install sentencepiece protobuf"):
        load_tokenizer(str(copied))


def test_code_of_a_tokenizers_own_is_neither_run_nor_asked_about(
    slow: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    (slow / "own.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    settings = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    (slow / "tokenizer_config.json").write_text(json.dumps(settings))
    (slow / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}))
    with pytest.raises(ValueError, match="cannot load the tokenizer of the model in"):
        load_tokenizer(str(slow))
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def real(tmp_path: Path) -> Callable[[str], str]:
    import os

    folder = os.environ.get("TOOLKIT_TEST_DATA")
    if folder is None:
        pytest.skip("TOOLKIT_TEST_DATA names no folder with the real tokenizers")
    return lambda name: f"{folder}/tokenizers/{name}"


@pytest.mark.slow
def test_qwen_in_its_older_layout_is_the_same(real: Callable[[str], str], tmp_path: Path) -> None:
    AutoTokenizer.from_pretrained(real("qwen2.5")).save_pretrained(tmp_path)
    core = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "vocab.json").write_text(json.dumps(core["model"]["vocab"]))
    (tmp_path / "merges.txt").write_text("\n".join(" ".join(merge) for merge in core["model"]["merges"]))
    (tmp_path / "tokenizer.json").unlink()
    text = "Wait… x²+1=0, 你好\n\n  def f(): pass"
    assert load_tokenizer(str(tmp_path))(text)["input_ids"] == load_tokenizer(real("qwen2.5"))(text)["input_ids"]
