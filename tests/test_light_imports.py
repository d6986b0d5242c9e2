"""What a command line needs before it runs, and the package itself, load nothing that takes seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "nnsight", "datasets", "accelerate", "numpy", "matplotlib", "sklearn"}
SETTINGS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("settings", "command_line")
    for path in sorted((ROOT / "toolkit" / folder).glob("[a-z]*.py"))
]
EXPERIMENTS = [
    f"toolkit.experiments.{path.parent.name}" for path in sorted(ROOT.glob("toolkit/experiments/*/__init__.py"))
]
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("[a-z]*.py"))


def heavy_after(code: str) -> set[str]:
    """Modules that take long to import and that are there after some code."""
    code = f"import sys\n{code}\nprint(*{HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_settings_and_the_command_line_are_light() -> None:
    assert heavy_after(f"import {', '.join(['toolkit', *SETTINGS, *EXPERIMENTS])}") == set()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_light_until_it_runs(recipe: str) -> None:
    assert heavy_after(f"sys.path.insert(0, 'recipes')\nimport {recipe}") == set()
