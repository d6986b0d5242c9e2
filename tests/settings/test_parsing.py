"""A command line becomes settings, or one line that says what is wrong with a value."""

from dataclasses import dataclass, field

import pytest

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.settings.parsing import parse


@dataclass(frozen=True)
class Settings:
    """Settings with a part that looks at its own values."""

    sheep: int = 3
    """How many."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """A part."""


def test_flags_stand_without_the_names_of_parts():
    settings = parse(Settings, ["--sheep", "7", "--lr", "0.5"])
    assert settings == Settings(7, TrainingConfig(lr=0.5))


def test_a_value_that_the_settings_refuse_is_an_error_with_their_message(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ValueError, match=r"^lr inf: "):
        parse(Settings, ["--lr", "inf"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", [["--sheep", "many"], ["--goats", "3"]])
def test_what_cannot_be_read_is_named_with_its_flag(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        parse(Settings, arguments)
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_help_is_shown(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        parse(Settings, ["--help"])
    assert stopped.value.code == 0
    assert "--sheep" in capsys.readouterr().out
