"""The benchmark of two GPUs notices what it looks for; a script stands in for the recipe, and fails as it is told."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

STAND_IN = """
import os, sys, time
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file

given, fault = sys.argv[1:], os.environ["FAULT"]
out = Path(given[given.index("--out") + 1])
resumed = "--resume" in given
if not resumed:
    checkpoint = out / "checkpoints" / "step-000000002"
    checkpoint.mkdir(parents=True)
if not resumed or fault == "began again":
    (out / "metrics.jsonl").write_text('{"step": 1}\\n{"step": 2}\\n')
if not resumed:
    (checkpoint / "state.json").write_text("{}")
if out.name == "killed, resumed" and not resumed:
    time.sleep(60)
weights = np.ones(100, np.float32)
if fault == "a bit lost" and resumed:
    weights[0] += 1e-6
if fault == "other latents" and "latents" in given:
    weights *= 1.01
if fault == "NaN" and "--base-device" in given:
    weights[3] = np.nan
if fault == "an error" and out.name == "two, tokens":
    sys.exit("it broke")
save_file({"W": weights, "b": np.zeros(3, np.float32)}, out / "crosscoder.safetensors")
"""


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parent / "benchmarks")
    module = importlib.import_module("two_gpus")
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setattr(module, "RECIPE", tmp_path / "stand_in.py")
    for start in ("launched", "split"):
        monkeypatch.setattr(module, start, lambda script: script)
    monkeypatch.setattr(sys, "argv", ["two_gpus.py", "--tokens", "10"])
    return module


@pytest.fixture
def said(
    two_gpus: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[object, str]]:
    """Run it with this fault; return its exit code and what it says."""

    def run(fault: str) -> tuple[object, str]:
        monkeypatch.setenv("FAULT", fault)
        with pytest.raises(SystemExit) as ended:
            two_gpus.main()
        return ended.value.code, " ".join(capsys.readouterr().out.split())

    return run


pytestmark = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="the benchmark refuses a single GPU")


def test_ways_that_agree_pass_and_split_layers_are_skipped_in_sight(said, two_gpus, monkeypatch):
    monkeypatch.setattr(two_gpus, "version", lambda name: "5.23.0")
    code, text = said("none")
    assert code == 0
    assert "tensor parallel: skipped: nnsight cannot trace what transformers 5.23.0 has split" in text


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("other latents", "two, latents: its weights differ by 0.01 from one process, and the limit is 0.001"),
        ("a bit lost", "killed, resumed: its weights differ by 9.5e-08 from two, tokens, and the limit is 0"),
        ("began again", "killed, resumed: it began again and did not go on from its checkpoint"),
        ("NaN", "a model on each: its weights differ by nan from one process"),
        ("an error", "two, tokens: it broke"),
    ],
)
def test_a_way_that_differs_or_breaks_is_named_and_the_exit_code_is_1(said, fault, reason):
    code, text = said(fault)
    assert code == 1
    assert reason in text
