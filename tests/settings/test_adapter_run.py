import json

import pytest

from toolkit.fields import changed, leaves
from toolkit.settings.adapter_run import (
    EMBEDDED_DEFAULTS,
    PUBLISHED_DEFAULTS,
    PUBLISHED_TEXT,
    AdapterRunConfig,
    parse_command_line,
)


@pytest.mark.parametrize(
    ("arguments", "defaults"),
    [
        ([], EMBEDDED_DEFAULTS),
        (["--pair", "organism-control"], changed(EMBEDDED_DEFAULTS, pair="organism-control")),
        (["--pair", "qwen-7b"], changed(PUBLISHED_DEFAULTS, pair="qwen-7b")),
        (["--base", "a", "--distilled", "b"], changed(PUBLISHED_DEFAULTS, base="a", distilled="b")),
    ],
)
def test_the_models_decide_the_defaults(arguments: list[str], defaults: AdapterRunConfig) -> None:
    assert parse_command_line(arguments) == defaults


def test_help_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_command_line(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    hidden = ("attn_implementation", "attempts")
    assert [
        name for name, _ in leaves(EMBEDDED_DEFAULTS) if name not in hidden and name.replace("_", "-") not in shown
    ] == []


def test_defaults_of_real_models_are_the_published_ones() -> None:
    training, text = PUBLISHED_DEFAULTS.training, PUBLISHED_DEFAULTS.text
    assert (training.n_latents, training.lr, training.sequences, training.steps) == (8192, 8e-4, 49_952, 49_952)
    assert (training.kl_weight, training.nmse_weight, training.bridging_weight) == (1, 1, 1)
    assert (training.optimiser, training.lr_warmup_share, training.max_grad_norm) == ("adamw", 0.05, 1)
    assert (text.data, text.row_length) == (PUBLISHED_TEXT, 10_000)


def test_settings_come_back_from_config_json() -> None:
    config = parse_command_line(["--pair", "qwen-1.5b", "--out", "somewhere", "--resume", "--bridging-weight", "2"])
    saved = json.loads(json.dumps(config.settings()))
    assert "out" not in saved
    again = AdapterRunConfig.from_settings(saved)
    assert again.settings() == config.settings()
    assert again.training.bridging_weight == 2


@pytest.mark.parametrize("given", [["--lr", "0"], ["--sparsity-coefficient", "-1"], ["--held-out-documents", "0"]])
def test_numbers_out_of_range_are_refused(given: list[str]) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_command_line(given)
