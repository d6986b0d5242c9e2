"""Whether what two recipes left is the same, but for the order of sums."""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file


def assert_close(one: Path, two: Path) -> None:
    """Both run folders hold the same crosscoder but for the order of sums, of the same tokens, and a report."""
    weights, others = (load_file(folder / "crosscoder.safetensors") for folder in (one, two))
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-4, atol=1e-5, msg=name)
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (one, two)]
    assert metrics[0]["masks"] == metrics[1]["masks"]
    assert (two / "report.html").exists()


def same(here: object, there: object, place: str) -> None:
    """The same, but for the last digits of fractions."""
    assert type(here) is type(there), place
    if isinstance(here, dict):
        assert here.keys() == there.keys(), place
        for name, value in here.items():
            same(value, there[name], f"{place} {name}")
    elif isinstance(here, list):
        assert len(here) == len(there), place
        for number, (one, other) in enumerate(zip(here, there, strict=True)):
            same(one, other, f"{place} {number}")
    elif isinstance(here, float):
        assert math.isclose(here, there, rel_tol=1e-5, abs_tol=1e-5) or (here != here and there != there), place
    else:
        assert here == there, place
