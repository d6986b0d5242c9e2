"""A cache is harvested once, read by later runs, mended, and refused where it does not belong."""

import json
import re
import runpy
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.artifacts import read_sealed, write_sealed
from toolkit.settings.crosscoder_run import CacheConfig, parse_command_line

RECIPE = Path(__file__).parents[2] / "recipes" / "cache_activations.py"
Call = Callable[..., str]
Train = Callable[[list[str]], None]


@pytest.fixture(scope="module")
def filled(run_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the run of 40 steps reads, as the recipe stores it."""
    folder = tmp_path_factory.mktemp("filled") / "cache"
    recipe = runpy.run_path(str(RECIPE))
    recipe["main"](parse_command_line([*run_settings, "--cache", str(folder)], CacheConfig))
    return folder


@pytest.fixture
def cache(filled: Path, tmp_path: Path) -> Path:
    """A copy of that."""
    return Path(shutil.copytree(filled, tmp_path / "cache"))


def results(folder: Path) -> tuple[bytes, str, dict[str, float]]:
    """Weights, steps and figures of a run, but for the times."""
    metrics = json.loads((folder / "metrics.json").read_text())
    figures = {name: value for name, value in metrics.items() if not name.startswith("seconds")}
    return (folder / "crosscoder.safetensors").read_bytes(), (folder / "metrics.jsonl").read_text(), figures


def stored(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.iterdir()}


def test_it_says_what_was_stored_and_what_for(call: Call, run_settings: list[str], tmp_path: Path) -> None:
    said = call("cache_activations.py", *run_settings, "--cache", tmp_path / "cache")
    assert re.search(r"harvesting 100%.* 1[.\d]+ MB stored", said)
    assert "fp32, which lost 0 of the squared norm" in said
    assert f"add --cache {tmp_path / 'cache'} to the same settings" in said.replace("- ", "-")


def test_training_on_a_cache_gives_the_very_weights(
    train: Train, run_arguments: list[str], trained: Path, cache: Path, tmp_path: Path
) -> None:
    before = stored(cache)
    train([*run_arguments, "--cache", str(cache)])
    assert results(tmp_path / "run") == results(trained)
    assert stored(cache) == before  # nothing was missing
    seconds = json.loads((tmp_path / "run" / "metrics.json").read_text())["seconds_in_reading_thread"]
    assert seconds.keys() == {"reading the cache"}


def test_a_run_that_fills_a_cache_is_the_one_without(
    train: Train, run_arguments: list[str], trained: Path, tmp_path: Path
) -> None:
    train([*run_arguments, "--cache", str(tmp_path / "cache")])
    assert results(tmp_path / "run") == results(trained)
    assert any(name.startswith("shard") for name in stored(tmp_path / "cache"))


@pytest.mark.parametrize("kind", ["bf16", "int8"])
def test_the_run_that_fills_a_cache_and_the_one_that_reads_it_are_the_same(
    train: Train, run_arguments: list[str], trained: Path, tmp_path: Path, kind: str
) -> None:
    cached = [*run_arguments, "--cache", str(tmp_path / "cache"), "--cache-dtype", kind]
    train(cached)
    train([*cached, "--out", str(tmp_path / "again")])
    assert results(tmp_path / "again") == results(tmp_path / "run")
    assert results(tmp_path / "run")[0] != results(trained)[0]


def test_more_tokens_are_added_to_what_is_there(call: Call, run_settings: list[str], cache: Path) -> None:
    before = stored(cache)
    said = call("cache_activations.py", *run_settings, "--cache", cache, "--tokens", 12_288)
    assert "harvesting 100%" in said
    assert {name: stored(cache)[name] for name in before if name.startswith("shard")}.items() <= before.items()
    assert len(stored(cache)) == len(before) + 1


def test_text_that_ends_is_told(call: Call, run_settings: list[str], text_file: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.jsonl"
    short.write_text("".join(text_file.read_text().splitlines(keepends=True)[:60]))
    said = call("cache_activations.py", *run_settings, "--data", short, "--cache", tmp_path / "short")
    assert "warning: the text ended after" in said


def test_one_shard_is_repaired(call: Call, run_settings: list[str], cache: Path, refuse: Call) -> None:
    repair = [*run_settings, "--cache", cache, "--repair"]
    assert "nothing to repair: every shard is whole" in call("cache_activations.py", *repair)
    shard = cache / "shard-000000.safetensors"
    before = shard.read_bytes()
    shard.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    said = refuse("--cache", cache)
    assert "shard-000000.safetensors is not as it was written" in said
    assert "recipes/cache_activations.py with the settings that made it and --repair" in said
    assert "harvested again: shard-000000.safetensors" in call("cache_activations.py", *repair)
    assert shard.read_bytes() == before
    shard.unlink()
    assert "lacks shard-000000.safetensors" in refuse("--cache", cache)
    call("cache_activations.py", *repair)
    assert shard.read_bytes() == before


@pytest.fixture
def refuse(train: Train, run_arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Train with further arguments, expect a failure, and return what it says on one line."""

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            train([*run_arguments, *map(str, arguments)])
        assert stopped.value.code == 2
        return " ".join(capsys.readouterr().err.replace("│", " ").split())

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--layers", "2"], "layers: [1] then, [2] now"),
        (["--seed", "3"], "seed: 0 then, 3 now"),
        (["--row-length", "32"], "row_length: 64 then, 32 now"),
        (["--keep-position-0"], "keep_position_0: False then, True now"),
        (["--cache-dtype", "int8"], "type: 'fp32' then, 'int8' now"),
        (["--data", "organism"], "data: {'files': ["),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_cache_of_other_settings_is_refused(
    refuse: Callable[..., str], cache: Path, arguments: list[str], said: str
) -> None:
    message = refuse("--cache", cache, *arguments)
    assert f"the cache {cache} was made with other settings (" in message
    assert said in message
    assert "--cache another folder" in message


def test_a_cache_of_another_pair_is_refused(
    refuse: Callable[..., str], cache: Path, save_organism_model: Callable[..., str]
) -> None:
    assert "was made with other settings (models: [" in refuse("--cache", cache, "--base", save_organism_model(seed=9))


def test_a_cache_of_another_tokenizer_is_refused(refuse: Callable[..., str], cache: Path) -> None:
    index = read_sealed(cache / "index.json")
    index["identity"]["tokenizer"] = "0123"
    write_sealed(cache / "index.json", index)
    assert "made with other settings (tokenizer: '0123' then, '" in refuse("--cache", cache)


def test_the_same_text_at_another_path_is_the_same(
    call: Call, run_settings: list[str], cache: Path, text_file: Path, tmp_path: Path
) -> None:
    moved = shutil.copy(text_file, tmp_path / "moved.jsonl")
    before = stored(cache)
    call("cache_activations.py", *run_settings, "--cache", cache, "--data", moved)
    assert stored(cache) == before


def test_an_unknown_type_is_refused(refuse: Callable[..., str], tmp_path: Path) -> None:
    said = refuse("--cache", tmp_path / "cache", "--cache-dtype", "fp8")
    assert "fp8" in said
    assert "int8" in said


def test_a_folder_that_holds_other_things_is_refused(refuse: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert "holds other files (notes.txt" in refuse("--cache", tmp_path)
    assert "is a file: give a folder" in refuse("--cache", tmp_path / "notes.txt", "--out", tmp_path / "other")


def test_a_run_is_resumed_as_it_was_begun(
    trained: Path, refuse: Callable[..., str], cache: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    assert "cache_dtype: None then, 'fp32' now" in refuse("--resume", "--cache", cache)


def test_too_little_disk_is_told_before_the_work(
    refuse: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))
    said = refuse("--cache", tmp_path / "cache")
    assert "10,240 tokens at 128 bytes take" in said
    assert "a smaller --cache-dtype" in said
