"""The truth is one process that reads all shards and was never stopped."""

import dataclasses
from pathlib import Path

import pytest
import torch
from rank_processes import launch, together
from ranked_runs import fail_together, run, run_that_breaks
from safetensors.torch import load_file
from torch.multiprocessing.spawn import ProcessException

from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.models.where import Where
from toolkit.settings.crosscoder_run import FeedSettings, RunConfig
from toolkit.training.ranks import on_own_device, open_ranks, share_out

TWO_SHARDS = ["--shards", "2"]
SEEDS = (0, 1)


def assert_close(one: Path, other: Path) -> None:
    """Both hold the same two crosscoders but for the order of sums, and the same counts of tokens."""
    for seed in SEEDS:
        weights, others = (load_file(each / f"crosscoder-{seed}" / "crosscoder.safetensors") for each in (one, other))
        for name, weight in weights.items():
            torch.testing.assert_close(others[name], weight, rtol=1e-4, atol=1e-5, msg=name)
    assert torch.load(one / "masks") == torch.load(other / "masks")


@pytest.fixture(scope="module")
def run_settings(run_settings: list[str]) -> list[str]:
    """A command line for a run of two crosscoders."""
    return [*run_settings, "--seeds", str(len(SEEDS))]


@pytest.fixture(scope="module")
def whole(run_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two shards in one process, never stopped."""
    folder = tmp_path_factory.mktemp("ranks") / "whole"
    run(ALONE, folder, [*run_settings, *TWO_SHARDS, "--out", str(folder)])
    return folder


@pytest.mark.parametrize(("first", "second"), [("tokens", "latents"), ("latents", "tokens")])
def test_two_ranks_killed_and_gone_on_with_by_one_are_the_run_of_one(
    run_settings: list[str], tmp_path: Path, whole: Path, first: str, second: str
) -> None:
    folder = tmp_path / "two"
    arguments = [*run_settings, "--out", str(folder), "--shard"]
    folder.mkdir()
    with pytest.raises(ProcessException):  # the first rank was killed, and so the second could not go on
        together(2, run, folder, [*arguments, first], 18)
    assert [path.name for path in sorted((folder / "checkpoints").iterdir())] == ["step-000000007", "step-000000014"]
    run(ALONE, folder, [*arguments, second, "--resume"])
    assert_close(folder, whole)


def test_one_rank_killed_and_gone_on_with_by_two_is_the_run_of_one(
    run_settings: list[str], tmp_path: Path, whole: Path
) -> None:
    folder = tmp_path / "one"
    arguments = [*run_settings, "--out", str(folder)]
    folder.mkdir()
    with pytest.raises(ProcessException):
        together(1, run, folder, [*arguments, *TWO_SHARDS], 18)
    together(2, run, folder, [*arguments, "--shard", "latents", "--resume"])
    assert_close(folder, whole)


@pytest.mark.parametrize("broken", [0, 1])
def test_where_one_rank_cannot_read_on_all_save_and_it_alone_says_why(
    run_settings: list[str], tmp_path: Path, whole: Path, broken: int
) -> None:
    arguments = [*run_settings, *TWO_SHARDS, "--out", str(tmp_path / "run")]
    with pytest.raises(ProcessException):
        launch(2, run_that_breaks, tmp_path, arguments, broken)
    said = [(tmp_path / f"said-{rank}").read_text() for rank in range(2)]
    assert "the text cannot be read on" in said[broken]
    assert said[1 - broken] == ""
    run(ALONE, tmp_path, [*arguments, "--resume"])
    assert_close(tmp_path, whole)


def test_a_rank_that_fails_says_why_though_the_launcher_ends_it_for_the_failure_of_another(tmp_path: Path) -> None:
    with pytest.raises(ProcessException):
        launch(2, fail_together, tmp_path)
    assert (tmp_path / "said").exists()


def test_without_a_launcher_one_process_is_alone(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with open_ranks() as ranks:
        assert ranks == ALONE
    assert share_out(config.feed, config.output, ranks) == dataclasses.replace(config.feed, shards=1)
    assert on_own_device(config.where, ranks) == config.where


def test_one_process_in_place_of_several_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ValueError, match=r"asked for several processes and started one, .*--multi_gpu"), open_ranks():
        pass
    monkeypatch.setenv("WORLD_SIZE", "1")  # as torchrun says where one is what was asked for
    with open_ranks() as ranks:
        assert ranks == ALONE


def test_a_run_has_as_many_shards_as_ranks_began_it(config: RunConfig) -> None:
    ranks = Ranks(size=4, rank=3, device="cpu:0")
    assert share_out(config.feed, config.output, ranks).shards == 4
    assert share_out(FeedSettings(shards=8), config.output, ranks).shards == 8
    assert on_own_device(Where(), ranks).device_map == "cpu:0"
    assert on_own_device(Where(device_map="cpu"), ranks) == Where(device_map="cpu")


def test_more_ranks_than_shards_are_refused(config: RunConfig) -> None:
    with pytest.raises(ValueError, match=r"3 processes, but 2 shards of the text: start at most 2 .*--shards 3"):
        share_out(FeedSettings(shards=2), config.output, Ranks(size=3))
