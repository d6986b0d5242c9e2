import signal
import sys

import pytest

from toolkit.artifacts import DiskFullError
from toolkit.dictionaries.training import NonFiniteError
from toolkit.runs.command_line import run_main
from toolkit.runs.interrupts import Interrupted


def not_finite() -> NonFiniteError:
    error = NonFiniteError(3, ("stream 0: mean nan",))
    error.add_note("last good checkpoint: here")
    return error


@pytest.mark.parametrize(
    ("error", "code", "parts"),
    [
        (ValueError("k = [9] is too much"), 2, ["error: k = [9] is too much"]),
        (DiskFullError(28, "no room"), 2, ["error:", "no room"]),
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


def test_mistakes_of_our_own_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_main(lambda: print(1 / 0))


def test_success_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    run_main(lambda: None)
    assert capsys.readouterr() == ("", "")
