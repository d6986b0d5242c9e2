"""The README tells the truth: its Python runs, its tree names every file, its commands are the gate's."""

import re
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_python_lines_run(monkeypatch):
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    exec(re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1), names)
    activations, latents = names["activations"], names["latents"]
    assert activations.shape == (len(names["pair"].tokenizer("Wait, is that right?")["input_ids"]), 2, 160)
    assert latents.shape[0] == activations.shape[0]
    assert torch.isfinite(latents).all()
    assert (latents > 0).any()


def test_tree_names_every_module():
    tree = re.search(r"## The tree\n\n```text\n(.*?)```", README, re.DOTALL).group(1)
    modules = [p for folder in ("toolkit", "recipes") for p in (ROOT / folder).rglob("*.py") if p.name != "__init__.py"]
    missing = [str(p.relative_to(ROOT)) for p in modules if not re.search(rf"\b{re.escape(p.name)}\b", tree)]
    assert modules
    assert not missing


def test_tree_names_nothing_that_is_not_there():
    tree = re.search(r"## The tree\n\n```text\n(.*?)```", README, re.DOTALL).group(1)
    there = {p.name for p in ROOT.rglob("*.py")}
    assert not [name for name in re.findall(r"[\w]+\.py", tree) if name not in there]
