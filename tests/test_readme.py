"""The README files tell the truth: their Python runs, their commands and links exist, the gate finds its commands."""

import ast
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
import torch

from toolkit.organism.corpus import documents

ROOT = Path(__file__).parents[1]
FOLDERS = ("", "recipes", "toolkit", "toolkit/models", "tests", "tests/benchmarks", "artifacts")
READMES = {folder or "root": ROOT / folder / "README.md" for folder in FOLDERS}
RECIPES = sorted((ROOT / "recipes").glob("*.py"))


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", READMES[readme].read_text(encoding="utf-8"), re.DOTALL)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each script that a README calls, with its arguments."""
    for readme in READMES:
        for line in "".join(blocks(readme, "bash")).splitlines():
            for command in line.split("&&"):
                words = shlex.split(command, comments=True)
                for place, word in enumerate(words):
                    if word.endswith(".py"):
                        yield word, words[place + 1 :]


def prose(path: Path) -> str:
    """A README without its blocks of code."""
    return re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


@cache
def anchors(path: Path) -> set[str]:
    """Names of a README's sections, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.fixture
def help_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str, list[str]], str]:
    """What a script's parser says of itself after it has read some arguments."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")

    def said(script: str, arguments: list[str]) -> str:
        monkeypatch.setattr(sys, "argv", [script, *arguments, "--help"])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(script, run_name="__main__")
        found = capsys.readouterr()
        assert stopped.value.code == 0, found.err
        return found.out

    return said


def test_the_first_page_is_short():
    assert READMES["root"].stat().st_size <= 8192


def test_the_gate_finds_an_installation_with_a_run_and_then_the_tests():
    first, second = "".join(blocks("root", "bash")).splitlines()[:2]
    assert "pip install -e ." in first
    assert "--out runs/crosscoder" in first
    assert second.endswith("&& pytest")


def test_every_recipe_stands_in_the_table_with_its_question():
    readme = READMES["root"].read_text(encoding="utf-8")
    for recipe in RECIPES:
        question = (ast.get_docstring(ast.parse(recipe.read_text(encoding="utf-8"))) or "").splitlines()[0]
        assert f"| [`{recipe.name}`](recipes/{recipe.name}) | {question} |" in readme


def test_every_package_stands_on_the_map():
    readme = READMES["toolkit"].read_text(encoding="utf-8")
    packages = {path.parent.name for path in (ROOT / "toolkit").glob("*/__init__.py")}
    assert [name for name in sorted(packages) if f"| [`{name}/`]({name}) |" not in readme] == []


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_somewhere(readme: str):
    path = READMES[readme]
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if target.startswith("https://"):
            continue
        file, _, section = target.partition("#")
        there = path.parent / file if file else path
        assert there.exists(), target
        assert not section or section in anchors(there), target


@pytest.mark.parametrize(
    ("script", "arguments"), list(commands()), ids=lambda part: part if isinstance(part, str) else " ".join(part) or "-"
)
def test_commands_name_scripts_and_options_that_exist(
    help_of: Callable[[str, list[str]], str], script: str, arguments: list[str]
):
    flags = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
    known = help_of(script, arguments)
    assert [flag for flag in flags if not re.search(rf"(?<!\S){flag}(?![\w-])", known)] == []


def test_models_are_read_where_the_python_lines_say(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    [lines] = blocks("toolkit/models", "python")
    exec(lines, names)
    assert names["activations"].shape[1:] == (2, 160)
    assert torch.isfinite(names["activations"]).all()


def test_no_other_readme_has_python_lines():
    assert [name for name in READMES if blocks(name, "python")] == ["root", "toolkit", "toolkit/models"]


def test_python_lines_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    [lines] = blocks("root", "python")
    assert len(lines.splitlines()) <= 12
    exec(lines, names)
    activations, latents = names["activations"], names["latents"]
    assert activations.shape == (len(names["pair"].tokenizer("Wait, is that right?")["input_ids"]), 2, 160)
    assert latents.shape[0] == activations.shape[0]
    assert torch.isfinite(latents).all()
    assert (latents > 0).any()
    assert capsys.readouterr().out.count("Wait") >= 3


@pytest.mark.slow
def test_python_lines_on_findings_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "artifacts").symlink_to(ROOT / "artifacts")  # what is saved lies beside
    monkeypatch.chdir(tmp_path)
    texts = [document.text for document in islice(documents("thinking", split="held_out"), 60)]
    names: dict[str, object] = {"texts": texts}
    [lines] = blocks("toolkit", "python")
    exec(lines, names)
    assert names["small"].config.n_latents == 256
    assert len(names["reading"].examples(623, 3)) == 3
    ablation = names["ablation"]
    assert ablation.category.name == "self-reflection"
    assert 2 <= len(ablation.targets.prefixes) <= 20
    assert (tmp_path / "runs" / "layer_divergence" / "layer_divergence.json").is_file()
    chosen, matched = (ablation["2 %", arm]["distilled"].logit.mean() for arm in ("chosen", "matched"))
    assert chosen < matched - 0.5
