"""The README tells the truth: its Python runs, its commands are the gate's."""

import re
from itertools import islice
from pathlib import Path

import torch

from toolkit.organism.corpus import documents

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_python_lines_run(monkeypatch):
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    exec(PYTHON[0], names)
    activations, latents = names["activations"], names["latents"]
    assert activations.shape == (len(names["pair"].tokenizer("Wait, is that right?")["input_ids"]), 2, 160)
    assert latents.shape[0] == activations.shape[0]
    assert torch.isfinite(latents).all()
    assert (latents > 0).any()


def test_python_lines_on_findings_run(monkeypatch):
    monkeypatch.chdir(ROOT)
    texts = [document.text for document in islice(documents("thinking", split="held_out"), 300)]
    names: dict[str, object] = {"texts": texts}
    exec(PYTHON[1], names)
    ablation = names["ablation"]
    assert ablation.category.name == "self-reflection"
    assert len(ablation.targets.prefixes) == min(100, ablation.targets.found)
    chosen, matched = (ablation.effects[0.02, arm].logit[1].mean() for arm in ("chosen", "matched"))
    assert chosen < matched - 0.5
