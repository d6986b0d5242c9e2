"""Feature files are read as published, byte by byte, and written so that they are read again."""

import gzip
import json
import struct
from pathlib import Path

import pytest

from toolkit.adapters.feature_files import (
    Feature,
    FeatureExample,
    FeatureFiles,
    cantor_number,
    write_packed,
    write_pages,
)

EXAMPLE = FeatureExample(tokens=("a", " Wait", "…"), activations=(0.0, 2.5, 0.5), peak=1)


def feature(layer: int, latent: int, **changes: object) -> Feature:
    named = {
        "top_logits": ("Wait",),
        "bottom_logits": ("so",),
        "activation_frequency": 0.25,
        "examples": {"Top": (EXAMPLE,)},
    }
    return Feature(layer=layer, latent=latent, **named | changes)


def write_by_hand(folder: Path, index: object, chunks: bytes) -> None:
    (folder / "features").mkdir()
    (folder / "features" / "layer_1.bin").write_bytes(chunks)
    (folder / "features" / "index.json.gz").write_bytes(gzip.compress(json.dumps(index).encode()))


def test_packed_features_are_read_by_the_published_layout(tmp_path: Path) -> None:
    content = {
        "top_logits": ["Wait"], "bottom_logits": ["so"], "act_min": 0.0, "act_max": 2.5, "layer": 1, "feature": 2,
        "activation_frequency": 0.25,
        "examples_quantiles": [{"quantile_name": "Top", "examples": [{
            "tokens_acts_list": [0.0, 2.5, 0.5], "train_token_ind": 1, "is_repeated_datapoint": False,
            "tokens": ["a", " Wait", "…"],
        }]}],
    }  # fmt: skip
    packed = gzip.compress(json.dumps(content).encode())
    chunk = struct.pack("<I", len(packed)) + packed
    index = {"version": "1.0", "format": "variable_chunks"}
    index["1"] = {"filename": "layer_1.bin", "offsets": [0, 0, 0, len(chunk)]}
    write_by_hand(tmp_path, index, chunk)
    files = FeatureFiles.open(tmp_path)
    assert files.n_latents(1) == 3
    assert [files.read(1, latent) for latent in range(3)] == [None, None, feature(1, 2)]


def test_what_is_written_is_read_again_and_the_others_are_dead(tmp_path: Path) -> None:
    given = [feature(0, 1), feature(0, 3, examples={"Top": (EXAMPLE,), "lowest quarter": ()}), feature(2, 0)]
    write_packed(given, tmp_path, n_layers=3, n_latents=4)
    files = FeatureFiles.open(tmp_path)
    found = [files.read(layer, latent) for layer in range(3) for latent in range(4)]
    assert [each for each in found if each is not None] == given
    for layer in range(3):
        assert files.offsets[layer][-1] == (tmp_path / "features" / f"layer_{layer}.bin").stat().st_size


def test_the_same_features_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_packed([feature(0, 1)], tmp_path / name, n_layers=1, n_latents=2)
    one, other = (
        [file.read_bytes() for file in sorted((tmp_path / n / "features").iterdir())] for n in ("one", "other")
    )
    assert one == other


def test_pages_are_named_by_cantors_pairing(tmp_path: Path) -> None:
    write_pages([feature(0, 1), feature(2, 0)], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.json", "3.json"]
    content = json.loads((tmp_path / "2.json").read_text())
    assert (content["layer"], content["act_min"], content["act_max"]) == (0, 0.0, 2.5)
    assert [cantor_number(*pair) for pair in ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (27, 8191))] == [
        0, 1, 2, 3, 4, 5, 33_780_062,
    ]  # fmt: skip


@pytest.mark.parametrize("order", [[(1, 0), (0, 1)], [(0, 2), (0, 1)], [(0, 1), (0, 1)], [(0, 4)], [(3, 0)]])
def test_features_out_of_order_or_range_are_refused(tmp_path: Path, order: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="comes out of order, or is not one of"):
        write_packed([feature(*each) for each in order], tmp_path, n_layers=3, n_latents=4)


def test_a_latent_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    write_packed([feature(0, 1)], tmp_path, n_layers=1, n_latents=2)
    files = FeatureFiles.open(tmp_path)
    with pytest.raises(ValueError, match="latent 2 of layer 0: choose from 0 to 1"):
        files.read(0, 2)
    with pytest.raises(ValueError, match=r"layer 1 has no feature file: there are those of layers \[0\]"):
        files.read(1, 0)


def test_damaged_files_are_told(tmp_path: Path) -> None:
    write_packed([feature(0, 1)], tmp_path, n_layers=1, n_latents=2)
    packed, index = tmp_path / "features" / "layer_0.bin", tmp_path / "features" / "index.json.gz"
    whole = packed.read_bytes()
    files = FeatureFiles.open(tmp_path)
    for damaged in (whole[: len(whole) // 2], whole[:8] + bytes(len(whole) - 8), b"", whole[:4]):
        packed.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"layer_0.bin is (damaged|empty)"):
            files.read(0, 1)
    packed.unlink()
    with pytest.raises(ValueError, match=r"layer_0.bin, which index.json.gz names, is missing"):
        files.read(0, 1)
    index.write_bytes(b"\x00" * 20)
    with pytest.raises(ValueError, match=r"index.json.gz is damaged"):
        FeatureFiles.open(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no features/index.json.gz"):
        FeatureFiles.open(tmp_path / "features")


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ({"format": "fixed"}, "has the format 'fixed', and 'variable_chunks' alone is known"),
        (["variable_chunks"], "has the format 'list'"),
        ({"1": {"filename": "../../secret", "offsets": [0, 1]}}, "does not say where layer 1"),
        ({"1": {"filename": "layer_1.bin", "offsets": [3, 1]}}, "does not say where layer 1"),
        ({"1": {"filename": "layer_1.bin"}}, "does not say where layer 1"),
    ],
)
def test_an_index_of_another_format_is_refused(tmp_path: Path, index: object, said: str) -> None:
    write_by_hand(tmp_path, {"format": "variable_chunks", **index} if isinstance(index, dict) else index, b"1")
    with pytest.raises(ValueError, match=said):
        FeatureFiles.open(tmp_path)


def test_content_that_describes_no_latent_is_refused() -> None:
    with pytest.raises(ValueError, match="the file of latent 2 of layer 1 describes none: KeyError"):
        Feature.of({"top_logits": []}, 1, 2)
