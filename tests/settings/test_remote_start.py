"""Without a pair --remote takes one that the server has; what it lacks is said before anything is loaded."""

from pathlib import Path

import pytest
from ndif_server import NdifServer

from toolkit.experiments.opening import open_models
from toolkit.models.pair import ModelPair
from toolkit.models.presets import PRESETS, Preset
from toolkit.models.where import Where
from toolkit.settings.crosscoder_run import PAPER_DEFAULTS, RunConfig, parse_command_line
from toolkit.settings.models import ModelChoice
from toolkit.settings.remote_start import check_hosted, check_remote, hosted_pair


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch, organism_folders: tuple[str, str]) -> str:
    """The tiny pair, which the tests' server hosts, has a name."""
    monkeypatch.setitem(PRESETS, "tiny", Preset(*organism_folders, (1,)))
    return "tiny"


def test_the_pair_is_one_that_the_server_hosts(
    ndif: NdifServer, tiny_preset: str, organism_folders: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = parse_command_line(["--remote", "--seed", "3"])
    assert config.models.pair == tiny_preset
    assert config.settings() == {**PAPER_DEFAULTS.settings(), "pair": "tiny", "seed": 3, "wire": "bf16"}
    said = capsys.readouterr().err
    assert said == (
        f"--remote without a pair: tiny, as 127.0.0.1 hosts {organism_folders[0]} and {organism_folders[1]}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "pair"),
    [
        (["--pair", "qwen-7b"], "qwen-7b"),
        (["--pair=llama-8b"], "llama-8b"),
        (["--base", "a", "--distilled", "b"], None),
    ],
)
def test_a_pair_that_is_named_is_taken_unasked(arguments: list[str], pair: str | None) -> None:
    config: RunConfig = parse_command_line([*arguments, "--remote"])
    assert config.models.pair == pair
    assert config.text.data == PAPER_DEFAULTS.text.data


def test_where_no_pair_is_hosted_what_is_stands_in_a_command(ndif: NdifServer, folders: tuple[Path, Path]) -> None:
    with pytest.raises(
        ValueError, match=r"127\.0\.0\.1 hosts no pair that has a name \(qwen-1\.5b, .*llama-8b\)"
    ) as none:
        parse_command_line(["--remote"])
    said = str(none.value)
    assert "\n" not in said
    assert all(f"{folder}" in said.partition("Name two")[0] for folder in folders)
    assert "--remote --base /" in said


def test_a_server_that_does_not_say_is_asked_for_ndifs_own_pair(
    ndif: NdifServer, capsys: pytest.CaptureFixture[str]
) -> None:
    ndif.silent = True
    assert hosted_pair(None) == "llama-8b"
    assert capsys.readouterr().err == "--remote without a pair: llama-8b; 127.0.0.1 does not say what it hosts\n"


def test_models_that_the_server_lacks_are_named_with_the_remedy(ndif: NdifServer, folders: tuple[Path, Path]) -> None:
    check_hosted([*map(str, folders)], None, "train")
    with pytest.raises(ValueError, match=r"127\.0\.0\.1 does not host a/b, but /.*: train$"):
        check_hosted([str(folders[0]), "a/b"], None, "train")
    ndif.silent = True
    check_hosted(["a/b"], None, "train")


def test_a_host_that_refuses_is_named(ndif: NdifServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NDIF_HOST", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"^no NDIF server at 127\.0\.0\.1: [^\n]*$"):
        check_remote(None)


def test_an_experiment_on_a_pair_alone_takes_a_hosted_one(
    ndif: NdifServer, tiny_preset: str, tiny_pair: ModelPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str | None] = []
    monkeypatch.setattr(ModelChoice, "open", lambda models, where: opened.append(models.pair) or tiny_pair)
    open_models(ModelChoice(), Where(remote=True))
    open_models(ModelChoice(), Where())
    assert opened == [tiny_preset, "organism"]
