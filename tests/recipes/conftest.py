"""Recipes as a user starts them: in a process of their own, or in this one."""

import importlib.util
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from toolkit.command_line.recipe import run_recipe
from toolkit.settings.crosscoder_run import parse_command_line

RECIPES = Path(__file__).parents[2] / "recipes"
RECIPE = RECIPES / "train_crosscoder.py"


@pytest.fixture
def start_recipe() -> Iterator[Callable[[Path, list[str]], subprocess.Popen[str]]]:
    """Start a recipe in a process of its own, which does not outlive the test."""
    processes: list[subprocess.Popen[str]] = []

    def run(recipe: Path, arguments: list[str]) -> subprocess.Popen[str]:
        command = [sys.executable, str(recipe), *arguments]
        # As many threads as here: with another number, sums come out in other last bits.
        environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def start(
    start_recipe: Callable[[Path, list[str]], subprocess.Popen[str]],
) -> Callable[[list[str]], subprocess.Popen[str]]:
    """Start training in a process of its own."""
    return partial(start_recipe, RECIPE)


@pytest.fixture(scope="session")
def train() -> Callable[[list[str]], None]:
    """Train in this process; a failure is a `SystemExit`."""
    spec = importlib.util.spec_from_file_location("train_crosscoder", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return lambda arguments: run_recipe(recipe.main, lambda _: parse_command_line(arguments), again="resume")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a recipe in this process with a command line; what it says, on one line.

    With `code` it must end with that, and what it says is the message on stderr.
    """

    def run(recipe: str, *arguments: object, code: int | None = None) -> str:
        monkeypatch.setattr(sys, "argv", [recipe, *map(str, arguments)])
        if code is None:
            runpy.run_path(str(RECIPES / recipe), run_name="__main__")
        else:
            with pytest.raises(SystemExit) as stopped:
                runpy.run_path(str(RECIPES / recipe), run_name="__main__")
            assert stopped.value.code == code
        said = capsys.readouterr()
        return " ".join((said.err if code else said.out).replace("│", " ").split())

    return run


@pytest.fixture(scope="session")
def trained(
    train: Callable[[list[str]], None], run_settings: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run of 40 steps on the tiny pair: a crosscoder of 64 latents."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train([*run_settings, "--out", str(folder)])
    return folder


@pytest.fixture
def finished_run(trained: Path, tmp_path: Path) -> Path:
    """A copy of that run, in the folder that `run_arguments` name."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def lexicon(tmp_path: Path) -> Path:
    """Words that are frequent in the organism's text; few words come before the second category's."""
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"self-reflection": ["is", "wait"], "sums": ["first", "next", "plus"]}))
    return path
