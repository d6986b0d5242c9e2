import json

import pytest

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.fields import changed, leaves
from toolkit.models.where import Where
from toolkit.settings.crosscoder_run import (
    EMBEDDED_DEFAULTS,
    PAPER_DEFAULTS,
    CacheConfig,
    RunConfig,
    RunOutput,
    parse_command_line,
)

FIXED_NAMES = ("out", "tokens", "seed", "resume", "overwrite", "sparsity", "remote")
REAL_MODELS = (["--pair", "qwen-7b"], ["--pair=llama-8b"], ["--base", "a", "--distilled", "b"])


def help_text(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        parse_command_line([*arguments, "--help"])
    assert stopped.value.code == 0
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "defaults"),
    [([], EMBEDDED_DEFAULTS), (["--pair", "qwen-7b"], PAPER_DEFAULTS)],
    ids=["embedded", "real"],
)
def test_help_shows_every_field_with_meaning_and_default(
    arguments: list[str], defaults: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = help_text(arguments, capsys)
    for field, value in leaves(defaults):
        if field in ("attn_implementation", "attempts"):
            continue
        name = field.replace("_", "-")
        text = shown.split("show this help message", 1)[1].split(f" --{name} ", 1)[1].split("(default:")
        assert len(text[0].split()) > 4, f"{field} has no meaning"
        wanted = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert text[1].split(")")[0].strip() == wanted
    assert [name for name in FIXED_NAMES if f"--{name} " not in shown] == []


def test_which_models_are_named_decides_the_defaults() -> None:
    assert parse_command_line([]) == parse_command_line(["--pair", "organism"]) == EMBEDDED_DEFAULTS
    assert EMBEDDED_DEFAULTS.training.n_latents < PAPER_DEFAULTS.training.n_latents
    for arguments in REAL_MODELS:
        config = parse_command_line(arguments)
        assert config.training == PAPER_DEFAULTS.training == TrainingConfig()
        assert config.text.data == "reasoning+general"
    assert parse_command_line(["--base", "a", "--distilled", "b"]).models.pair is None
    assert parse_command_line(["--pair", "no-organism-of-ours"]).text.data == "reasoning+general"


def test_options_reach_their_fields() -> None:
    config = parse_command_line("--tokens 5000 --sparsity l1 --layers 1 2 --lr 0.1 --overwrite --mix .25 .75".split())
    assert (config.training.tokens, config.training.sparsity, config.training.lr) == (5000, "l1", 0.1)
    assert (config.layers, config.text.mix, config.output.overwrite) == ((1, 2), (0.25, 0.75), True)


def test_settings_are_json_and_leave_out_the_place() -> None:
    settings = RunConfig(output=RunOutput(resume=True), layers=(3,)).settings()
    assert settings.keys() & {"out", "resume", "overwrite", "remote", "export"} == set()
    assert json.loads(json.dumps(settings))["layers"] == [3]


def test_seeds_are_a_setting_of_runs_that_have_several_and_a_run_without_has_one() -> None:
    assert "seeds" not in PAPER_DEFAULTS.settings()
    assert RunConfig.from_settings(PAPER_DEFAULTS.settings()).trained_seeds == range(1)
    saved = json.loads(json.dumps(changed(EMBEDDED_DEFAULTS, seed=4).settings()))
    assert saved["seeds"] == 3
    assert RunConfig.from_settings(saved).trained_seeds == range(4, 7)
    assert parse_command_line(["--seeds", "2"], CacheConfig).seeds == 2


def test_the_wire_is_a_setting_of_runs_on_ndif_alone() -> None:
    assert "wire" not in RunConfig(where=Where(wire="int8")).settings()
    assert RunConfig(where=Where(wire="int8", remote=True)).settings()["wire"] == "int8"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row_length": 0}, "row_length 0: must be at least 1"),
        ({"keep_checkpoints": 0}, "keep_checkpoints 0: must be at least 1"),
        ({"mix": (0.5, 0.6)}, "two probabilities that add up to 1"),
        ({"mix": (1.5, -0.5)}, "mix 1.5: must be from 0 to 1"),
        ({"mix": (float("nan"), 0.5)}, "mix nan: must be from 0 to 1"),
        ({"outlier_factor": float("nan")}, "outlier_factor nan: must be above 1"),
        ({"seed": -1}, "seed -1: must be at least 0"),
        ({"row_length": 1}, "--row-length 1: position 0 is masked"),
        ({"forward_tokens": 100}, "--forward-tokens 100 is less than --row-length 320"),
        ({"buffer_tokens": 5}, "--buffer-tokens 5 is less than one batch of 1024"),
        ({"shards": 3}, "--batch-tokens 1024 does not divide by 3 shards"),
        (
            {"training": TrainingConfig(n_exclusive=20_000)},
            "are 40000, more than n_latents",
        ),
        ({"export": "dictionary_learning", "training": TrainingConfig(sparsity="topk")}, "to export"),
    ],
)
def test_impossible_values_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(EMBEDDED_DEFAULTS, **change)


def test_settings_that_came_later_are_told_only_where_they_are_used():
    """So that a run that was begun without them is the same run, and can be resumed."""
    assert "seeds" not in PAPER_DEFAULTS.settings()
    assert not {"difference_weight", "kernels"} & PAPER_DEFAULTS.settings()["training"].keys()
    used = changed(PAPER_DEFAULTS, seeds=2, difference_weight=0.5, kernels="torch")
    assert used.settings()["seeds"] == 2
    assert used.settings()["training"]["difference_weight"] == 0.5
    assert RunConfig.from_settings(used.settings()).training == used.training
