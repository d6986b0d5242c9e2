"""The benchmarks that need what most machines lack run as far as they can, and say what they need."""

import importlib
import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pretended_device
import pytest
import torch

from toolkit.dictionaries.sparse_codes import SparsePattern

BENCHMARKS = Path(__file__).parent / "benchmarks"
Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a benchmark in this process with a command line, and return what it says, on one line."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.delenv("PEERS_PYTHON", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def start(benchmark: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [benchmark, *arguments])
        runpy.run_path(str(BENCHMARKS / benchmark), run_name="__main__")
        return " ".join(capsys.readouterr().out.split())

    return start


@pytest.mark.slow
def test_the_gpu_benchmark_tries_its_code_on_tiny_shapes(run: Run, tmp_path: Path):
    with pytest.raises(SystemExit, match="1"):  # a tiny run loads its models longer than it trains
        run("gpu.py", "--shapes", "tiny", "--json", str(tmp_path / "gpu.json"))
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["about"]["torch"] == torch.__version__
    assert {(row["rule"], row["precision"]) for row in found["steps"]} == {
        (rule, precision) for rule in ("l1", "jumprelu", "topk", "batchtopk") for precision in ("fp32", "bf16")
    }
    assert [row["pair"] for row in found["harvest"]] == ["tiny"]
    reading = found["reading"]
    assert [row["way"] for row in reading][-3:] == ["nnsight's passes", "selection", "a run's source"]
    assert all(row["ms"] > 0 and row["host ms"] > 0 for row in reading)
    assert reading[-1]["of the source"] == 1
    assert {row["what"] for row in found["overlap"]} == {"reading alone", "training alone", "in turn", "read ahead"}
    assert len(found["decode"]) == 5
    assert all(0 < row["of measured fp32"] < 2 for row in found["harvest"] + found["steps"])
    pytest.importorskip("triton")
    whats = ["selection", "codes", "decode", "weight_gradients", "Adam, bf16", "step, fp32", "step, bf16"]
    assert list(dict.fromkeys(row["what"] for row in found["kernels"])) == whats
    assert all(row["difference"] <= (1e-2 if "bf16" in str(row) else 1e-5) for row in found["kernels"])


def test_the_gpu_benchmark_makes_a_whole_run_judges_it_and_splits_its_stages(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit, match="1"):  # it loads its models longer than it trains
        run("gpu.py", "run", "--shapes", "tiny", "--json", str(tmp_path / "gpu.json"))
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"above 1.15 of the slower of reading and training: loading models \d.* run stage seconds", said)
    rows = json.loads((tmp_path / "gpu.json").read_text())["run"]
    seconds = {row["stage"]: row["seconds"] for row in rows}
    assert seconds["writing checkpoints, beside the steps"] > 0
    stages = {row["stage"] for row in rows if "above" in row}
    assert stages > {"loading models", "steps in all", "waiting for activations", "checkpoints", "evaluation", "report"}
    slower = max(seconds["reading, alone"], seconds["training, alone"])
    assert all(row["above"] == (row["seconds"] > 1.15 * slower) for row in rows if "above" in row)
    verdict = importlib.import_module("gpu_run").verdict
    assert verdict([row for row in rows if not row.get("above")]) == ""
    parts = [row for row in rows if row["stage"].startswith("  ")]
    named = {row["stage"].strip() for row in parts}
    assert named > {"weights to the site", "whole weights", "splicing", "reading held-out text", "the rest"}
    in_all = sum(row["seconds"] for row in parts)
    assert in_all == pytest.approx(seconds["loading models"] + seconds["evaluation"], rel=0.1)


def test_the_gpu_benchmark_of_adapters_tries_its_code_on_tiny_shapes(run: Run, tmp_path: Path):
    run("gpu_adapter.py", "--shapes", "tiny", "--json", str(tmp_path / "gpu.json"))
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert [(row["tokens"], row["recompute"]) for row in found["steps"]] == [(32, False), (32, True)]
    assert all(row["step / passes"] > 0 and row["first step / passes"] > 0 for row in found["steps"])
    assert sum(row["share"] for row in found["where"]) > 0.5
    assert [row["l0"] for row in found["transcode"]] == [1, 32]


def test_the_gpu_benchmark_builds_every_shape_that_it_times(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    shapes = importlib.import_module("gpu_shapes")
    pairs = shapes.real_shapes().pairs
    assert [*pairs] == ["1.5B", "7B", "14B"]
    for config, layer in pairs.values():
        pair = shapes.random_pair(config, layer, torch.device("meta"))
        assert (pair.base.n_layers, pair.d_model) == (layer + 1, config.hidden_size)
        assert shapes.RandomText(pair, (8, 2048))


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that counts what a step moves, where a device can be pretended."""
    if pretended_device.OWN is not None:
        pytest.skip("the machine has a device of its own")
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("traffic")


def test_the_traffic_of_a_step_is_counted_and_its_time_on_a_gpu_predicted(traffic, run: Run, tmp_path: Path):
    said = run("traffic.py", "l1", "batchtopk", "--divisor", "32", "--json", str(tmp_path / "traffic.json"))
    dense, sparse = json.loads((tmp_path / "traffic.json").read_text())
    assert f"l1, bf16, 32,768 latents, torch: {dense['predicted ms']:.2f} ms, {dense['launches']} operations" in said
    product = 2 * 2048 * 32_768 * 3072 / 1e12
    large = (dense["operations"]["mm"], dense["operations"]["addmm"])
    assert sum(each["teraflops"] for each in large) == pytest.approx(5 * product)
    assert sparse["operations"]["mm"]["teraflops"] == pytest.approx(product)
    adam = dense["operations"]["_fused_adam_"]  # reads and writes weights, moments and shrunk gradients
    assert adam["gigabytes"] == pytest.approx(32 * 2 * 32_768 * 3072 / 1e9, rel=0.05)
    assert "addmm, sparse" in sparse["operations"]


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[np.ndarray]]:
    """The addresses that interpreted kernels read and write, at each load and each store."""
    interpreter = pytest.importorskip("triton.runtime.interpreter")
    found: dict[str, list[np.ndarray]] = {"read": [], "written": []}
    for name, kind in (("create_masked_load", "read"), ("create_masked_store", "written")):
        function = getattr(interpreter.InterpreterBuilder, name)

        def kept(builder: Any, pointers: Any, *others: Any, function: Any = function, kind: str = kind) -> Any:
            mask = others[0] if kind == "read" else others[1]
            found[kind].append(pointers.data[mask.data.astype(bool)])
            return function(builder, pointers, *others)

        monkeypatch.setattr(interpreter.InterpreterBuilder, name, kept)
    return found


def test_what_stands_in_for_a_kernel_says_the_bytes_that_it_passes(traffic, passed, monkeypatch):
    products = pytest.importorskip("toolkit.dictionaries.sparse_products.triton")
    if torch.cuda.is_available():
        pytest.skip("kernels are interpreted where there is no GPU")
    stand_ins = importlib.import_module("traffic_kernels")
    fires, (latents, tokens, width) = torch.zeros(4, 20, dtype=torch.bool), (4, 20, 520)
    fires[0], fires[1, ::2], fires[3, 3:8] = True, True, True
    pattern = SparsePattern.from_flat(fires.flatten().nonzero().squeeze(1), (latents, tokens))
    x, error, W, out = (torch.randn(n, width) for n in (tokens, tokens, latents, latents))
    values, squares, vector = torch.rand(35), torch.empty(latents), torch.empty(35)
    both = pattern.starts, pattern.columns
    rows = (W + 2, W + 3, W, out, W + 4, W + 5, W.abs(), W.square())  # as weights, gradients and moments
    launched = {
        "row_products": ((*both, both[0], W, x, vector, width, 50), {"of_list": False, "segment": 64}),
        "gathered_sums": ((*both, both[0], values, x, W, width, 50), {"of_list": False, "adds": False}),
        "latent_gradients": ((*both, values, x, error, W, vector, W + 1, out, squares, width, 50), {}),
        "adam_of_rows": ((*rows, torch.empty(latents, 2), W + 6, 2, 260, 0.5, 0.1, 1.5, True, 0.9, 0.99, 0.1), {}),
    }  # fmt: skip
    module = {"adam_of_rows": pytest.importorskip("toolkit.dictionaries.row_kernels")}
    for name, (arguments, options) in launched.items():
        for addresses in passed.values():
            addresses.clear()
        twins = [each.clone() if isinstance(each, torch.Tensor) else each for each in arguments]
        programs = (latents, 2) if name == "gathered_sums" else (latents,)
        getattr(module.get(name, products), name)[programs](*arguments, **options)
        written, read = (np.unique(np.concatenate(passed[kind])) for kind in ("written", "read"))
        moved, gathered = getattr(stand_ins, name)(*twins, **options)
        both_ways = read if name == "adam_of_rows" else np.setdiff1d(read, written)  # else sums, while they are held
        assert moved == 4 * (len(written) + len(both_ways)), name
        assert gathered == 4 * 35 * width * {"latent_gradients": 2, "adam_of_rows": 0}.get(name, 1)
        for each, truth in zip(filter(torch.is_tensor, twins), filter(torch.is_tensor, arguments), strict=True):
            torch.testing.assert_close(each, truth, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rule", ["topk", "batchtopk"])
def test_a_step_with_triton_is_counted_by_its_kernels(traffic, rule: str):
    pytest.importorskip("triton")
    torchs, tritons = (traffic.count_step(rule, "bf16", 32_768, 32, kernels) for kernels in ("torch", "triton"))
    sparse = {"sparse_sampled_addmm, sparse", "addmm, sparse"}
    weights = 4 * 32_768 * 3072 / 1e9
    kernels = {f"triton's {name}" for name in ("row_products", "gathered_sums", "latent_gradients", "adam_of_rows")}
    assert sparse <= {*torchs.by_name}
    assert kernels <= {*tritons.by_name}
    assert not kernels & {*torchs.by_name}
    assert not {*sparse, "kthvalue"} & {*tritons.by_name}
    gathered = 2 * 2 * 2048 * 100 * 3072 / 1e9
    assert tritons.by_name["triton's latent_gradients"].gigabytes == pytest.approx(3 * weights + gathered, rel=0.1)
    assert tritons.by_name["triton's adam_of_rows"].gigabytes == pytest.approx(14.5 * weights, rel=0.01)
    norms = (tritons.by_name["linalg_vector_norm"], torchs.by_name["linalg_vector_norm"])
    assert norms[0].gigabytes == pytest.approx(norms[1].gigabytes - 3 * weights, abs=0.1)
    assert tritons.milliseconds < torchs.milliseconds


def test_a_rule_without_sparse_products_is_counted_alike_with_triton(traffic):
    pytest.importorskip("triton")
    torchs, tritons = (traffic.count_step("l1", "bf16", 32_768, 64, kernels) for kernels in ("torch", "triton"))
    assert tritons.by_name == torchs.by_name


def test_a_sum_into_another_type_is_known_to_copy_first(traffic):
    with traffic.counted() as counting:
        x = torch.zeros(2048, 512, dtype=torch.bfloat16, device=pretended_device.AWAY)
        x.sum(dim=0, dtype=torch.float32)
        without = counting.by_name["sum"].gigabytes
        (x > 0).sum(dim=0)
    assert without == pytest.approx((2 * 2048 * 512 + 4 * 512) / 1e9)
    assert counting.by_name["sum"].gigabytes - without == pytest.approx((17 * 2048 * 512 + 8 * 512) / 1e9)


@pytest.mark.parametrize("dead_after", [1, 10**9], ids=["dead latents", "none dead"])
@pytest.mark.parametrize(("rule", "most"), [("l1", 1), ("jumprelu", 1), ("topk", 2), ("batchtopk", 3)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_waits_for_the_device_as_seldom_as_it_can(traffic, monkeypatch, rule, most, precision, dead_after):
    monkeypatch.setattr("toolkit.dictionaries.schedules.dead_after", lambda training: dead_after)
    waits = traffic.count_step(rule, precision, n_latents=32_768, divisor=32).waits
    assert waits["tolist"] == 1
    assert waits.total() <= most


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one here")
@pytest.mark.parametrize("benchmark", ["gpu.py", "gpu_adapter.py"])
def test_the_gpu_benchmarks_refuse_a_machine_without_one(benchmark: str, run: Run):
    with pytest.raises(SystemExit, match=r"no CUDA device here.*--shapes tiny"):
        run(benchmark)


def test_the_benchmark_of_two_gpus_says_that_it_never_ran_there(run: Run, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        run("two_gpus.py", "--help")
    assert "never ran on two GPUs" in capsys.readouterr().out


def test_the_readme_tells_the_limits_of_all_ratios(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    limits, peers = importlib.import_module("run").LIMITS, importlib.import_module("peers")
    works = importlib.import_module("peer_side").WORKS
    ours = {name: limit for name, limit in limits.items() if name not in {*map(peers.ratio_name, works)}}
    told = re.findall(
        r"^\| `(\w+)` \| ([a-z ]+) ([\d.]+) \|", (BENCHMARKS / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert {name: (side, float(limit)) for name, side, limit in told} == ours


def test_peers_that_are_not_installed_are_skipped_in_sight(run: Run):
    said = run("peers.py", "--python", sys.executable)
    for name in ("eai-sparsify", "dictionary-learning", "sae-lens"):
        assert f"not installed: pip install {name}" in said
    assert said.count("skipped") == 8


@pytest.mark.parametrize("arguments", [(), ("--python", "/no/such/python")])
def test_without_an_interpreter_peers_says_how_to_make_one(
    run: Run, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit, match="2"):
        run("peers.py", *arguments)
    assert "pip install eai-sparsify dictionary-learning sae-lens" in " ".join(capsys.readouterr().out.split())
