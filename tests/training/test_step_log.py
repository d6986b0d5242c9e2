"""The tools are stand-ins that write down what they are told."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from toolkit.fields import changed
from toolkit.models.pair import ModelPair
from toolkit.settings.crosscoder_run import RunConfig, RunOutput
from toolkit.training.folder import RunFolder
from toolkit.training.step_log import StepLog
from toolkit.training.training_run import TrainingRun

STEP = {"step": 3, "tokens": 300, "loss": 2.5, "fve": (0.5, 0.25)}
SHOWN = {"tokens": 300, "loss": 2.5, "fve_base": 0.5, "fve_distilled": 0.25}
STREAMS = ("base", "distilled")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What all tools were told, in order."""
    told: list[tuple[str, Any]] = []

    class Run:
        def log(self, values: dict[str, float], step: int) -> None:
            told.append((f"step {step}", values))

        def finish(self) -> None:
            told.append(("finished", None))

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            told.append((folder, purge_step))

        def add_scalar(self, name: str, value: float, global_step: int) -> None:
            told.append((f"step {global_step}", {name: value}))

        def flush(self) -> None: ...

        def close(self) -> None:
            told.append(("finished", None))

    def init(**asked: Any) -> Run:
        told.append(("begun", asked))
        return Run()

    for name in ("wandb", "trackio"):
        module = ModuleType(name)
        module.init = init  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=SummaryWriter))
    monkeypatch.setattr("torch.utils.tensorboard", sys.modules["torch.utils.tensorboard"], raising=False)
    return told


def logged(tool: str, folder: Path, steps_done: int = 0) -> None:
    log = StepLog(tool, RunFolder(path=folder), {"lr": 0.1}, steps_done)
    log.add({"crosscoder": STEP}, STREAMS)
    log.close()


@pytest.mark.parametrize("tool", ["wandb", "trackio"])
def test_a_tool_is_told_settings_and_each_step(tool: str, tmp_path: Path, told: list[tuple[str, Any]]) -> None:
    (tmp_path / "my-run").mkdir()
    logged(tool, tmp_path / "my-run")
    (_, begun), step, end = told
    assert begun["project"] == "distillation-crosscoders"
    assert begun["name"].startswith("my-run-")
    assert begun["config"] == {"lr": 0.1}
    assert step == ("step 3", SHOWN)
    assert end == ("finished", None)


@pytest.mark.parametrize("tool", ["wandb", "trackio"])
def test_a_resumed_run_is_shown_in_the_same_run_and_one_begun_again_in_another(
    tool: str, tmp_path: Path, told: list[tuple[str, Any]]
) -> None:
    logged(tool, tmp_path)
    logged(tool, tmp_path, steps_done=2)
    logged(tool, tmp_path)
    first, resumed, other = (begun["name"] for what, begun in told if what == "begun")
    assert first == resumed != other
    assert all(begun["resume"] == "allow" for what, begun in told if what == "begun")


def test_tensorboard_writes_in_the_run_folder_and_forgets_steps_that_are_taken_again(
    tmp_path: Path, told: list[tuple[str, Any]]
) -> None:
    logged("tensorboard", tmp_path, steps_done=2)
    assert told[0] == (str(tmp_path / "tensorboard"), 3)
    assert told[1:-1] == [("step 3", {name: value}) for name, value in SHOWN.items()]


def test_several_crosscoders_are_told_apart(tmp_path: Path, told: list[tuple[str, Any]]) -> None:
    log = StepLog("wandb", RunFolder(path=tmp_path), {}, 0)
    log.add({"k-8": STEP, "k-16": STEP}, STREAMS)
    assert told[1][1] == {f"{plan}/{name}": value for plan in ("k-8", "k-16") for name, value in SHOWN.items()}


def test_what_the_log_writes_goes_with_the_run_that_is_replaced(tmp_path: Path, told: list[tuple[str, Any]]) -> None:
    (tmp_path / "run").mkdir()
    folder = RunFolder(path=tmp_path / "run")
    folder.begin({}, {"models": {}, "data": {}}, resume=False)
    logged("tensorboard", folder.path)
    (folder.path / "tensorboard").mkdir()
    (folder.path / "tensorboard" / "events.out.tfevents.1.host").touch()
    folder.begin({}, {"models": {}, "data": {}}, resume=False)
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.json", "provenance.json", "written.json"]


def test_a_run_shows_each_step_and_a_resumed_one_goes_on(
    open_run: Callable[..., TrainingRun], config: RunConfig, pair: ModelPair, told: list[tuple[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("toolkit.settings.crosscoder_run.find_spec", lambda name: name)
    with open_run(changed(config, log="wandb"), pair) as run:
        next(steps := run.steps())
        run.save()
        steps.close()
    with open_run(changed(config, log="wandb", resume=True), pair) as run:
        list(run.steps())
    assert [what for what, _ in told] == [
        "begun", "step 1", "finished", "begun", *(f"step {step}" for step in range(2, 41)), "finished",
    ]  # fmt: skip
    begun, step, _, again, *_ = (each for _, each in told)
    assert begun["id"] == again["id"]
    assert step["loss"] == run.folder.records()[0]["loss"]
    assert {"fve_base", "fve_distilled", "l0"} <= step.keys()


def test_a_tool_that_is_not_installed_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.settings.crosscoder_run.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"^--log wandb: the package wandb is not installed: pip install wandb, or"):
        RunOutput(log="wandb")
