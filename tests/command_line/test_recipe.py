import signal
import sys
import warnings
from dataclasses import dataclass

import pytest

from toolkit.artifacts import DiskFullError
from toolkit.command_line import last_word
from toolkit.command_line.interrupts import Interrupted
from toolkit.command_line.last_word import Speaker
from toolkit.command_line.recipe import Again, run_main, run_recipe
from toolkit.dictionaries.activation_batches import NonFiniteError
from toolkit.models.places.ndif.connection import RemoteJobError


def not_finite() -> NonFiniteError:
    error = NonFiniteError(3, ("stream 0: mean nan",))
    error.add_note("last good checkpoint: here")
    return error


def failed_job() -> RemoteJobError:
    error = RemoteJobError("a job failed 5 times")
    error.add_note("saved at step 4")
    return error


@pytest.mark.parametrize(
    ("error", "code", "parts"),
    [
        (ValueError("k = [9] is too much"), 2, ["error: k = [9] is too much"]),
        (DiskFullError(28, "no room"), 2, ["error:", "no room"]),
        (failed_job(), 1, ["error: a job failed 5 times\nsaved at step 4\nGo on with: ", " --resume\n"]),
        (not_finite(), 1, ["step 3 met NaN", "stream 0: mean nan", "last good checkpoint: here"]),
        (Interrupted(signal.SIGINT, step=4), 130, ["stopped by SIGINT, saved at step 4"]),
        (KeyboardInterrupt(), 130, ["stopped by SIGINT"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failures_become_a_message_and_a_code(
    error: BaseException, code: int, parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as stopped:
        run_main(fail)
    assert stopped.value.code == code
    said = capsys.readouterr()
    assert said.out == ""
    assert [part for part in parts if part not in said.err] == []


def test_how_to_go_on_is_a_command_for_a_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--overwrite", "--data", "my texts/*.jsonl"])

    def stop() -> None:
        raise Interrupted(signal.SIGTERM, step=4)

    with pytest.raises(SystemExit):
        run_main(stop)
    assert "Go on with: python train.py --data 'my texts/*.jsonl' --resume\n" in capsys.readouterr().err


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Count sheep."""

    sheep: int = 3
    """How many."""
    resume: bool = False
    """A flag."""


def test_a_recipe_gets_the_settings_of_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []
    for arguments in ([], ["--sheep", "7", "--resume"]):
        monkeypatch.setattr(sys, "argv", ["count.py", *arguments])
        run_recipe(seen.append, Settings)
    assert seen == [Settings(), Settings(sheep=7, resume=True)]


@pytest.mark.parametrize("arguments", [["--sheep", "many"], ["--no-resume"]], ids=" ".join)
def test_a_recipe_refuses_what_it_has_no_setting_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["count.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        run_recipe(lambda settings: None, Settings)
    assert stopped.value.code == 2
    assert arguments[-1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("again", "advice"),
    [
        ("restart", "Begin again with: python count.py --sheep 7\n"),
        ("continue", "Go on with: python count.py --sheep 7\n"),
        ("resume", "Go on with: python count.py --sheep 7 --resume\n"),
    ],
)
def test_a_stopped_recipe_says_what_the_next_call_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], again: Again, advice: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["count.py", "--sheep", "7"])

    def stop(_: Settings) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped:
        run_recipe(stop, Settings, again=again)
    assert stopped.value.code == 130
    assert capsys.readouterr().err == f"stopped by SIGINT. {advice}"


@pytest.mark.parametrize("arguments", [["--tensor-parallel"], ["--shards", "4"]])
def test_a_stopped_recipe_of_several_processes_is_started_with_a_launcher(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.setenv("WORLD_SIZE", "4")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        run_main(stop)
    assert capsys.readouterr().err.endswith(
        f"Go on with: torchrun --nproc-per-node 4 -- train.py {' '.join(arguments)} --resume\n"
    )


class Recorder(Speaker):
    """One that a launcher started."""

    is_launched = True

    def __init__(self, *_: object) -> None:
        self._file = None

    def killed(self) -> list[str]:
        """Process 1 was."""
        return ["1"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("k = 9"), "error: k = 9\nOnce that is put right, go on with: python train.py --resume\n"),
        (not_finite(), "\nlast good checkpoint: here\nOnce that is put right, go on with: python train.py --resume\n"),
        (SystemExit(2), "error: the command line cannot be used, for the reason given above\n"),
        (RuntimeError("peer"), "error: process 1 of this run was killed\nGo on with: python train.py --resume\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_launched_recipe_says_how_to_go_on_whatever_ended_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(last_word, "Speaker", Recorder)

    def fail() -> None:
        raise error

    with pytest.raises((SystemExit, RuntimeError)):
        run_main(fail)
    assert capsys.readouterr().err.endswith(said)


def test_mistakes_of_our_own_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_main(lambda: print(1 / 0))


def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # and put back
    run_main(lambda: None)
    assert warnings.formatwarning("a pass has fewer rows", UserWarning, "fitting.py", 51) == (
        "warning: a pass has fewer rows\n"
    )


def test_what_others_wrote_cannot_reach_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # and put back

    def fail() -> None:
        raise ValueError("the server said \x1b]0;owned\x07\x1b[2Jno")

    with pytest.raises(SystemExit):
        run_main(fail)
    assert capsys.readouterr().err == "error: the server said no\n"
    assert warnings.formatwarning("model \x1b[31mx", UserWarning, "fitting.py", 51) == "warning: model x\n"


def test_success_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    run_main(lambda: None)
    assert capsys.readouterr() == ("", "")
