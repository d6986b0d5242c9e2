import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("name", ["model.safetensors", "model_final.pt", "ae.pt"])
def test_a_folder_and_the_file_in_it_are_the_same(tmp_path, dictionary_learning_tensors, name) -> None:
    tensors = dictionary_learning_tensors()
    (save_file if name.endswith("safetensors") else torch.save)(tensors, tmp_path / name)
    x = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(0))
    by_folder, by_file = Crosscoder.from_pretrained(tmp_path), Crosscoder.from_pretrained(tmp_path / name)
    assert torch.equal(by_folder.encode(x), by_file.encode(x))
    assert by_folder.config == by_file.config


def test_a_smaller_type_is_read_as_float32(tmp_path, dictionary_learning_tensors) -> None:
    torch.save({n: t.bfloat16() for n, t in dictionary_learning_tensors().items()}, tmp_path / "ae.pt")
    assert {buffer.dtype for buffer in Crosscoder.from_pretrained(tmp_path).buffers()} == {torch.float32}


def test_what_was_assumed_is_said_and_kept_when_saved(tmp_path, dictionary_learning_tensors) -> None:
    torch.save(dictionary_learning_tensors(n_streams=2), tmp_path / "ae.pt")
    crosscoder = Crosscoder.from_pretrained(tmp_path / "ae.pt", layers=(14,), device="cpu")
    subjects = [line.split(":")[0] for line in crosscoder.assumptions]
    assert subjects == ["format", "activations", "codes", "threshold", "models", "layers"]
    crosscoder.save_pretrained(tmp_path / "own")
    again = Crosscoder.from_pretrained(tmp_path / "own", device="cpu")
    assert again.config == crosscoder.config
    assert again.config.layers == (14,)
    x = torch.randn(6, 2, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(x), crosscoder(x))


def test_layers_that_nothing_tells_are_negative(tmp_path, dictionary_learning_tensors) -> None:
    torch.save(dictionary_learning_tensors(), tmp_path / "ae.pt")
    crosscoder = Crosscoder.from_pretrained(tmp_path, device="cpu")
    assert crosscoder.config.layers == (-1,)
    assert crosscoder.config.models == ("model_0", "model_1", "model_2")
    assert "layers: not stored, give layers=" in crosscoder.assumptions


def test_own_files_come_first_and_state_their_scale_themselves(tmp_path, dictionary_learning_tensors) -> None:
    config = CrosscoderConfig(
        d_model=4, models=("a", "b"), layers=(3,), n_latents=6, sparsity="l1", k=2, scale=(2.0, 1.0)
    )
    Crosscoder(config).save_pretrained(tmp_path)
    save_file(dictionary_learning_tensors(), tmp_path / "model.safetensors")
    assert Crosscoder.from_pretrained(tmp_path).config == config
    assert Crosscoder.from_pretrained(tmp_path / "crosscoder.safetensors").config == config
    assert Crosscoder.from_pretrained(tmp_path).assumptions == ()
    with pytest.raises(ValueError, match="states its own scale and layers"):
        Crosscoder.from_pretrained(tmp_path, scale=(1.0, 1.0))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path) -> None:
    torch.save({"encoder.weight": Malicious(tmp_path / "was_run")}, tmp_path / "ae.pt")
    with pytest.raises(ValueError, match="a pickle that holds more than tensors, which could run code"):
        Crosscoder.from_pretrained(tmp_path)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"\x00" * len(b), lambda b: b"", lambda b: b"hello"]
)
@pytest.mark.parametrize("name", ["ae.pt", "model.safetensors"])
def test_a_truncated_or_corrupt_file_is_named(tmp_path, dictionary_learning_tensors, name, damage) -> None:
    path = tmp_path / name
    (save_file if name.endswith("safetensors") else torch.save)(dictionary_learning_tensors(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{name} is corrupt"):
        Crosscoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"state": {"W_enc": torch.zeros(2)}}, torch.zeros(2)])
def test_a_file_that_is_no_state_dict_is_refused(tmp_path, content) -> None:
    torch.save(content, tmp_path / "ae.pt")
    with pytest.raises(ValueError, match="holds no plain state_dict"):
        Crosscoder.from_pretrained(tmp_path)


def test_tensors_of_something_else_say_what_was_expected_and_found(tmp_path) -> None:
    save_file({"model.embed_tokens.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"expected tensors such as decoder.weight, encoder.weight; .*embed_tokens"):
        Crosscoder.from_pretrained(tmp_path)
