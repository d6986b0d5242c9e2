import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file

from toolkit.artifacts import DiskFullError
from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.storage import weights_hash


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds a crosscoder."""
    config = CrosscoderConfig(
        d_model=4,
        models=("base", "distilled"),
        layers=(3,),
        n_latents=6,
        sparsity="batchtopk",
        k=2,
        scale=(1.5, 0.5),
    )
    Crosscoder(config).save_pretrained(tmp_path / "run")
    return tmp_path / "run"


def change_config(folder: Path, *, openly: bool = True, **values) -> None:
    content = json.loads((folder / "config.json").read_text())
    content["crosscoder"] |= values
    if openly:
        del content["sha256"]["crosscoder"]
    (folder / "config.json").write_text(json.dumps(content))


def test_nothing_is_pickled_and_the_scale_is_kept(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "crosscoder.safetensors"]
    assert Crosscoder.from_pretrained(folder).config.scale == (1.5, 0.5)


def test_other_keys_of_the_configuration_are_kept(folder):
    content = json.loads((folder / "config.json").read_text()) | {"run": {"seed": 7}}
    (folder / "config.json").write_text(json.dumps(content))
    Crosscoder.from_pretrained(folder).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["run"] == {"seed": 7}


@pytest.mark.parametrize("name", ["config.json", "crosscoder.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} does not exist"):
        Crosscoder.from_pretrained(folder)


def test_a_path_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="/no/such/folder is neither a folder nor"):
        Crosscoder.from_pretrained("/no/such/folder")


def test_a_repository_without_network_says_so_and_how_to_go_on():
    with pytest.raises(FileNotFoundError, match=r"someone/crosscoder.*hub cannot be reached.*path of a folder"):
        Crosscoder.from_pretrained("someone/crosscoder")


def test_a_repository_is_read_from_the_cache_subfolders_too(folder, tmp_path, monkeypatch, dictionary_learning_tensors):
    repository = tmp_path / "hub" / "models--someone--crosscoders"
    snapshot = repository / "snapshots" / ("0" * 40)
    (snapshot / "L15").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    for file in folder.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    torch.save(dictionary_learning_tensors(n_streams=2), snapshot / "L15" / "ae.pt")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert Crosscoder.from_pretrained("someone/crosscoders").config == Crosscoder.from_pretrained(folder).config
    assert Crosscoder.from_pretrained("someone/crosscoders/L15").config.layers == (16,)
    with pytest.raises(FileNotFoundError, match=r"L16.*does not exist"):
        Crosscoder.from_pretrained("someone/crosscoders/L16")


def test_of_a_repository_only_settings_and_one_file_of_weights_are_taken(folder, hub):
    hub.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.files |= dict.fromkeys(("model.safetensors", "ae.pt", "optimizer.pt"), b"other weights")
    assert Crosscoder.from_pretrained("someone/it").config == Crosscoder.from_pretrained(folder).config
    assert sorted(hub.taken) == ["config.json", "crosscoder.safetensors"]


def test_a_language_model_is_refused_before_its_weights_are_taken(hub):
    hub.files = {"config.json": b'{"model_type": "qwen2"}', "model.safetensors": b"gigabytes"}
    with pytest.raises(ValueError, match=r"someone/it is a repository of a language model \(qwen2\), not of a crossc"):
        Crosscoder.from_pretrained("someone/it")
    assert hub.taken == ["config.json"]


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"\x00" * len(b), lambda b: b""])
def test_a_truncated_or_corrupt_file_is_named(folder, damage):
    path = folder / "crosscoder.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"crosscoder.safetensors is corrupt, cut short, or no safetensors file"):
        Crosscoder.from_pretrained(folder)


def test_a_foreign_file_says_what_was_expected_and_found(folder):
    save_file({"encoder.weight": torch.zeros(2, 4, 6)}, folder / "crosscoder.safetensors")
    with pytest.raises(ValueError, match=r"expected \{'W_enc': \(6, 2, 4\).*found \{'encoder.weight': \(2, 4, 6\)"):
        Crosscoder.from_pretrained(folder)


def test_shapes_that_contradict_the_configuration_are_refused(folder):
    change_config(folder, n_latents=7)
    with pytest.raises(ValueError, match=r"expected.*\(7, 2, 4\).*found.*\(6, 2, 4\)"):
        Crosscoder.from_pretrained(folder)


def test_unknown_fields_are_named(folder):
    change_config(folder, n_latent=6)
    with pytest.raises(ValueError, match=r"unknown fields \['n_latent'\]"):
        Crosscoder.from_pretrained(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "holds list, expected a JSON object"),
        ('{"model_type": "qwen2"}', 'no "crosscoder" section'),
        ('{"crosscoder": {"d_model": 4}}', "does not describe a crosscoder"),
    ],
)
def test_a_configuration_of_something_else_is_refused(folder, text, message):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        Crosscoder.from_pretrained(folder)


def test_impossible_values_are_refused(folder):
    change_config(folder, k=9)
    with pytest.raises(ValueError, match="k = 9 is more than n_latents = 6"):
        Crosscoder.from_pretrained(folder)


def test_the_hash_of_weights_changes_with_any_bit_name_or_shape_and_with_nothing_else() -> None:
    tensors = {"a": torch.arange(4.0), "s": torch.tensor(2.0)}
    same = {"s": torch.tensor(2.0), "a": torch.arange(8.0)[:4]}
    flipped = tensors | {"a": torch.nextafter(torch.arange(4.0), torch.tensor(9.0))}
    others = (flipped, {"b": tensors["a"], "s": tensors["s"]}, tensors | {"a": torch.arange(4.0).view(2, 2)})
    assert weights_hash(same) == weights_hash(tensors)
    assert len({weights_hash(each) for each in (tensors, *others)}) == 4
    assert weights_hash({"a": torch.zeros(2, dtype=torch.bfloat16)}) != weights_hash({"a": torch.zeros(2)})


def flip_each_region(path: Path) -> Iterator[None]:
    """One flipped bit at a time, over the whole file; the file is whole again at the end."""
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        yield
    path.write_bytes(whole)


def test_other_weights_than_were_saved_are_refused(folder):
    for _ in flip_each_region(folder / "crosscoder.safetensors"):
        with pytest.raises(ValueError, match=r"crosscoder.safetensors"):
            Crosscoder.from_pretrained(folder)
    Crosscoder.from_pretrained(folder)


def test_other_settings_than_were_saved_are_refused_and_a_change_can_be_allowed(folder):
    change_config(folder, openly=False, layers=[2])
    with pytest.raises(ValueError, match=r'config.json is not as it was saved: its sha256 differs from "crosscoder"'):
        Crosscoder.from_pretrained(folder)
    change_config(folder, layers=[2])
    assert Crosscoder.from_pretrained(folder).config.layers == (2,)


def test_a_damaged_config_is_refused_in_a_line_or_changes_nothing(folder):
    expected = Crosscoder.from_pretrained(folder)
    for _ in flip_each_region(folder / "config.json"):
        try:
            found = Crosscoder.from_pretrained(folder)
        except ValueError as error:
            assert str(folder) in str(error)  # noqa: PT017
        else:
            assert found.config == expected.config
    for content in ("[]", "{}", "null", '{"a": 1}', '{"crosscoder": []}', '{"crosscoder": {}}', ""):
        (folder / "config.json").write_text(content)
        with pytest.raises(ValueError, match=r"config.json"):
            Crosscoder.from_pretrained(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_integers_are_no_weights(folder, value):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"crosscoder": config["crosscoder"]}))  # as others write it
    whole = Crosscoder.from_pretrained(folder).state_dict()
    broken = whole["W_dec"].clone()
    broken[2, 1, 3] = value
    save_file(whole | {"W_dec": broken}, folder / "crosscoder.safetensors")
    with pytest.raises(ValueError, match="holds NaN or infinity in 1 of 5 tensors, such as W_dec"):
        Crosscoder.from_pretrained(folder)
    save_file(whole | {"W_dec": broken.nan_to_num(0, 0).int()}, folder / "crosscoder.safetensors")
    with pytest.raises(ValueError, match=r"holds torch.int32 as W_dec: expected floating-point numbers"):
        Crosscoder.from_pretrained(folder)


def test_a_full_disk_leaves_what_was_there(folder, small_disk):
    before = (folder / "crosscoder.safetensors").read_bytes()
    larger = Crosscoder(CrosscoderConfig(d_model=64, models=("a",), layers=(1,), n_latents=64, sparsity="l1", k=1))
    with small_disk(), pytest.raises(DiskFullError, match=r"no room left to write to .*run .*free some space"):
        larger.save_pretrained(folder)
    assert (folder / "crosscoder.safetensors").read_bytes() == before
    assert len(list(folder.iterdir())) == 2
