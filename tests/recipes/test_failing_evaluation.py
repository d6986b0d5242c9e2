"""What ends an evaluation leaves the crosscoder saved, and --resume evaluates it without training."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import toolkit.experiments.crosscoder.measure
import toolkit.experiments.sweep.measure
from toolkit.artifacts import DiskFullError
from toolkit.dictionaries.activation_batches import NonFiniteError
from toolkit.dictionaries.crosscoder import Crosscoder

Call = Callable[..., str]


@pytest.fixture
def unsaved(trained: Path, tmp_path: Path) -> Path:
    """The folder of a run that was killed after its last step."""
    folder = shutil.copytree(trained, tmp_path / "run")
    for name in ("crosscoder.safetensors", "metrics.json", "report.html"):
        (folder / name).unlink()
    return folder


@pytest.fixture
def break_evaluation(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let an evaluation raise an error, of all crosscoders or of those of one size."""
    whole = toolkit.experiments.crosscoder.measure.evaluate_crosscoders

    def break_it(error: BaseException, n_latents: int | None = None) -> None:
        def evaluate(text, mask, pair, corpus, crosscoders, *, seed):
            if n_latents in (None, crosscoders[seed].config.n_latents):
                raise error
            return whole(text, mask, pair, corpus, crosscoders, seed=seed)

        for module in (toolkit.experiments.crosscoder.measure, toolkit.experiments.sweep.measure):
            monkeypatch.setattr(module, "evaluate_crosscoders", evaluate)

    return break_it


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("1 of 64 latents fired"), 2, "error: 1 of 64 latents fired"),
        (DiskFullError(28, "no room left"), 2, "no room left"),
        (NonFiniteError(1, ("stream 0: mean nan",)), 1, "stream 0: mean nan"),
        (MemoryError(), 1, "error: out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 GB"), 1, "can't allocate memory: 9 GB"),
        (KeyboardInterrupt(), 130, "stopped by SIGINT"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_ends_an_evaluation_leaves_the_crosscoder_and_says_so(
    call: Call,
    run_settings: list[str],
    trained: Path,
    unsaved: Path,
    break_evaluation: Callable[..., None],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    break_evaluation(error)
    message = call("train_crosscoder.py", *run_settings, "--out", unsaved, "--resume", code=code)
    assert said in message
    assert f"the crosscoder is saved whole in {unsaved}: with --resume it is evaluated without training" in message
    weights = [(folder / "crosscoder.safetensors").read_bytes() for folder in (trained, unsaved)]
    assert weights[0] == weights[1]
    assert Crosscoder.from_pretrained(unsaved).config.n_latents == 64


def test_an_error_of_our_own_keeps_its_traceback_and_the_crosscoder(
    call: Call, run_settings: list[str], unsaved: Path, break_evaluation: Callable[..., None]
) -> None:
    break_evaluation(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError) as failed:
        call("train_crosscoder.py", *run_settings, "--out", unsaved, "--resume")
    assert "the crosscoder is saved whole" in "".join(failed.value.__notes__)
    assert Crosscoder.from_pretrained(unsaved).config.n_latents == 64


def test_the_crosscoder_is_saved_before_the_models_are_opened_whole(
    call: Call, run_settings: list[str], unsaved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(models, where, read):
        raise ValueError("the weights lack lm_head")

    monkeypatch.setattr("toolkit.settings.models.ModelChoice.open_whole", refuse)
    said = call("train_crosscoder.py", *run_settings, "--out", unsaved, "--resume", code=2)
    assert "lm_head the crosscoder is saved whole" in said
    assert Crosscoder.from_pretrained(unsaved).config.n_latents == 64


@pytest.mark.slow
def test_a_crosscoder_of_a_sweep_that_cannot_be_evaluated_keeps_no_other_from_it(
    call: Call, run_settings: list[str], tmp_path: Path, break_evaluation: Callable[..., None]
) -> None:
    folder = tmp_path / "sweep"
    arguments = [*run_settings, "--n-latents", "32", "48", "--out", folder]
    broken, whole = (folder / f"n-latents-{n}_k-8" for n in (32, 48))
    break_evaluation(ValueError("1 of 32 latents fired"), n_latents=32)
    said = call("sweep.py", *arguments, code=2)
    assert f"error: 1 of 32 latents fired the crosscoder is saved whole in {broken}" in said
    assert [(each / "crosscoder.safetensors").exists() for each in (broken, whole)] == [True, True]
    assert [(each / "metrics.json").exists() for each in (broken, whole)] == [False, True]
    assert "n-latents-48_k-8" in (folder / "sweep.html").read_text(encoding="utf-8")
    before = (broken / "crosscoder.safetensors").read_bytes()
    break_evaluation(ValueError(), n_latents=0)
    call("sweep.py", *arguments, "--resume")
    assert (broken / "metrics.json").exists()
    assert (broken / "crosscoder.safetensors").read_bytes() == before
