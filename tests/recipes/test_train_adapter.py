"""An adapter is trained, evaluated and loaded again; a run stopped at any moment ends as one that was never stopped."""

import importlib.util
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path

import pytest
import torch
from rank_processes import RECIPES, in_two

from toolkit.adapters.trainer import AdapterStep, AdapterTrainer
from toolkit.command_line.recipe import run_recipe
from toolkit.dictionaries.adapter_storage import load_adapter
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.harvest.tokens import TokenBatch, TokenStream
from toolkit.settings.adapter_run import parse_command_line

RECIPE = RECIPES / "train_adapter.py"
Train = Callable[[list[str]], None]


@pytest.fixture(scope="module")
def settings(organism_folders: tuple[str, str]) -> list[str]:
    """A command line for a run of 24 steps, but for its folder."""
    values = {
        "base": organism_folders[0], "distilled": organism_folders[1], "data": "organism-thinking", "n-latents": 32,
        "sequences": 48, "batch-sequences": 2, "row-length": 40, "sparsity-coefficient": 0.001, "lr": 0.02,
        "optimiser": "muon", "checkpoint-steps": 5, "held-out-documents": 20,
    }  # fmt: skip
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def train() -> Train:
    """Train in this process; a failure is a `SystemExit`."""
    spec = importlib.util.spec_from_file_location("train_adapter", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return lambda arguments: run_recipe(recipe.main, lambda _: parse_command_line(arguments), again="resume")


@pytest.fixture(scope="module")
def finished(train: Train, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run that was never stopped."""
    folder = tmp_path_factory.mktemp("adapter") / "run"
    train([*settings, "--out", str(folder)])
    return folder


@pytest.fixture
def start(
    start_recipe: Callable[[Path, list[str]], "subprocess.Popen[str]"],
) -> Callable[[list[str]], "subprocess.Popen[str]"]:
    """Start training in a process of its own."""
    return partial(start_recipe, RECIPE)


def test_a_run_folder_holds_the_adapter_its_figures_and_a_report(
    finished: Path, organism_folders: tuple[str, str]
) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert 0 < metrics["kl"]["value"] < metrics["kl_hybrid"]["value"]
    assert metrics["kl_recovered"]["low"] < metrics["kl_recovered"]["value"] < 1
    assert [len(metrics["by_layer"][name]) for name in ("l0", "nmse", "nmse_without_sink", "dead")] == [3] * 4
    assert (metrics["steps"], metrics["sequences"], metrics["held_out_documents"]) == (24, 48, 20)
    records = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 25))
    assert len(records[-1]["nmse"]) == len(records[-1]["l0"]) == len(records[-1]["dead"]) == 3
    assert "KL recovered" in (finished / "report.html").read_text()
    assert (finished / "figures" / "training_curves.png").is_file()
    about = load_adapter(finished).config
    assert about.sources == organism_folders
    assert AdapterRun.open(finished).models.fingerprints() == dict(
        zip(("base", "distilled"), about.fingerprints, strict=True)
    )
    origin = json.loads((finished / "provenance.json").read_text())
    assert origin["models"].keys() == {"base", "distilled"}


def kill(process: "subprocess.Popen[str]", folder: Path, step: int) -> None:
    """Kill training once `step` steps are on record."""
    path = folder / "metrics.jsonl"
    while process.poll() is None and not (path.exists() and path.read_text().count("\n") >= step):
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL


def terminate_in_call(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have SIGTERM come while `AdapterTrainer.step` is called the `number`-th time."""
    step, calls = AdapterTrainer.step, count(1)

    def stopped(*given: object) -> AdapterStep:
        if next(calls) == number:
            signal.raise_signal(signal.SIGTERM)
        return step(*given)

    monkeypatch.setattr(AdapterTrainer, "step", stopped)


@pytest.mark.slow
def test_killed_terminated_and_resumed_is_the_same_run(
    start: Callable[[list[str]], "subprocess.Popen[str]"],
    train: Train,
    settings: list[str],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    arguments = [*settings, "--out", str(folder)]
    kill(start(arguments), folder, step=7)
    with monkeypatch.context() as patched:
        terminate_in_call(patched, 3)
        with pytest.raises(SystemExit) as stopped:
            train([*arguments, "--resume"])
    assert stopped.value.code == 128 + signal.SIGTERM
    assert "stopped by SIGTERM, saved at step" in " ".join(capsys.readouterr().err.split())
    assert not (folder / "adapter.safetensors").exists()
    train([*arguments, "--resume"])
    for name in ("adapter.safetensors", "metrics.jsonl"):
        assert (folder / name).read_bytes() == (finished / name).read_bytes()


def fail_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """Have the text end with an error after so many batches."""
    whole = TokenStream.__iter__

    def failing(stream: TokenStream) -> Iterator[TokenBatch]:
        yield from islice(whole(stream), batches)
        raise ConnectionError("the text is gone")

    monkeypatch.setattr(TokenStream, "__iter__", failing)


def test_a_run_whose_text_cannot_be_read_is_saved_and_resumed(
    train: Train,
    settings: list[str],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [*settings, "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patched:
        fail_after(patched, 7)
        with pytest.raises(SystemExit) as stopped:
            train(arguments)
    assert stopped.value.code == 2
    assert "error: the text is gone saved at step 7" in " ".join(capsys.readouterr().err.split())
    train([*arguments, "--resume"])
    for name in ("adapter.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.slow
def test_two_processes_train_the_adapter_of_one(settings: list[str], finished: Path, tmp_path: Path) -> None:
    in_two("train_adapter.py", tmp_path, *settings, "--out", tmp_path / "two")
    one, two = (load_adapter(folder).state_dict() for folder in (finished, tmp_path / "two"))
    for name, weight in one.items():  # Muon computes in bfloat16
        torch.testing.assert_close(two[name], weight, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--row-length", "100000"], "exceeds the model's context of 512 tokens: lower it to that"),
        (["--n-latents", "1000000000000"], "for the copy that a checkpoint is written from, but this machine has"),
        (["--resume", "--overwrite"], "--resume and --overwrite exclude each other"),
        (["--sequences", "0"], "sequences 0: must be at least 1"),
        (["--data", "nowhere/there.jsonl"], "nowhere/there.jsonl"),
    ],
)
def test_bad_input_is_one_line(
    train: Train, settings: list[str], tmp_path: Path, given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        train([*settings, "--out", str(tmp_path / "run"), *given])
    assert stopped.value.code == 2
    message = capsys.readouterr().err.strip()
    assert said in message
    assert "\n" not in message


def test_a_finished_run_is_neither_replaced_nor_trained_again_unasked(
    train: Train, settings: list[str], finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train([*settings, "--out", str(finished)])
    assert "already holds a run: add --resume" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train([*settings, "--out", str(finished), "--resume", "--lr", "0.03"])
    assert "other settings" in capsys.readouterr().err


def test_latents_that_all_fall_silent_are_said_while_the_run_goes_on(
    train: Train, settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train([*settings, "--out", str(tmp_path / "run"), "--sparsity-coefficient", "100000", "--lr", "0.5"])
    said = " ".join(capsys.readouterr().out.split())
    assert "no latent fired at step" in said
    assert "--sparsity-coefficient 100000 is too large" in said


def test_text_that_ends_early_is_said(
    train: Train, settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text("".join(json.dumps({"text": f"Find {n}+{n}. It is {2 * n}."}) + "\n" for n in range(40)))
    train([*settings, "--out", str(tmp_path / "run"), "--data", str(text), "--held-out-documents", "2"])
    assert "the text ended after 38 of 48 documents" in " ".join(capsys.readouterr().out.split())
