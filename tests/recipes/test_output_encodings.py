"""Recipes whose output goes where only ASCII can be written."""

import io
import runpy
import sys
from contextlib import suppress
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize(
    "arguments",
    [["train_crosscoder.py", "--help"], ["sweep.py", "--help"], ["estimate_costs.py", "--tflops", "1"]],
    ids=" ".join,
)
def test_a_recipe_needs_no_more_than_ascii(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown, said = io.BytesIO(), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(said, encoding="ascii"))
    monkeypatch.setattr(sys, "argv", arguments)
    with suppress(SystemExit):  # of --help
        runpy.run_path(str(RECIPES / arguments[0]), run_name="__main__")
    sys.stdout.flush()
    sys.stderr.flush()
    assert len(shown.getvalue()) > 500
    assert said.getvalue() == b""
