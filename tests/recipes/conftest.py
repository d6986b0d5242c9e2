"""The recipe as a user starts it: in a process of its own, or its `main` in this one."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from toolkit.runs.command_line import run_main
from toolkit.runs.settings import parse_command_line

RECIPE = Path(__file__).parents[2] / "recipes" / "train_crosscoder.py"


@pytest.fixture
def start() -> Iterator[Callable[[list[str]], subprocess.Popen[str]]]:
    """Start the recipe in a process of its own, which does not outlive the test."""
    processes: list[subprocess.Popen[str]] = []

    def run(arguments: list[str]) -> subprocess.Popen[str]:
        command = [sys.executable, str(RECIPE), *arguments]
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


@pytest.fixture(scope="session")
def train() -> Callable[[list[str]], None]:
    """Run the recipe in this process; a failure is a `SystemExit`."""
    spec = importlib.util.spec_from_file_location("train_crosscoder", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return lambda arguments: run_main(lambda: recipe.main(parse_command_line(arguments)))
