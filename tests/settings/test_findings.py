"""Which crosscoder is examined, and beside which null run."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from toolkit.settings.findings import SHIPPED, SHIPPED_NULL, CrosscoderChoice
from toolkit.settings.parsing import parse


@dataclass(frozen=True)
class Settings:
    """Settings of an experiment on a crosscoder."""

    crosscoder: CrosscoderChoice = CrosscoderChoice()


@pytest.mark.parametrize(
    ("arguments", "null"),
    [
        ([], SHIPPED_NULL),
        (["--run", str(SHIPPED)], SHIPPED_NULL),
        (["--run", "runs/mine"], None),
        (["--run", "runs/mine", "--null-run", "runs/null"], Path("runs/null")),
        (["--null-run", "runs/null"], Path("runs/null")),
    ],
)
def test_the_shipped_null_run_is_that_of_the_shipped_crosscoder_alone(arguments: list[str], null: Path | None):
    assert parse(Settings, arguments).crosscoder.null == null


def test_another_run_does_not_take_the_shipped_null_run_along():
    assert replace(CrosscoderChoice(), run=Path("runs/mine")).null is None
