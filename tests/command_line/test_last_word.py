"""A launcher here is a small program that starts two processes, stops both when one fails, and then speaks itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.command_line.last_word import Launcher

LAUNCHER = """
import os, signal, subprocess, sys, time
command, attempts = [sys.executable, *sys.argv[1:]], int(os.environ.get("ATTEMPTS", "1"))
places = [{"WORLD_SIZE": "2", "LOCAL_RANK": str(rank)} for rank in range(2)]
for attempt in range(attempts):
    more = os.environ | {"ATTEMPT": str(attempt)}
    started = [subprocess.Popen(command, env=more | place) for place in places]
    while not any(each.poll() for each in started) and any(each.poll() is None for each in started):
        time.sleep(0.01)
    failed = any(each.poll() for each in started)
    for each in started:
        each.terminate()
        each.wait()
if failed:
    sys.exit("FAILED: a wall of text")
"""
WORKER = """
import os, signal, sys, time
from pathlib import Path
from toolkit.command_line.last_word import Launcher, speaking
def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.01)
first = os.environ["LOCAL_RANK"] == "0"
with speaking(Launcher.find(), "all were killed\\n") as speaker:
    Path("began-" + os.environ["LOCAL_RANK"]).touch()
    wait_for("began-0"), wait_for("began-1")
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
PATIENT = "wait_for('never')"


def launched(folder: Path, first: str, second: str, attempts: int = 1) -> "subprocess.CompletedProcess[str]":
    """Start a worker twice, which does something else as the first and as the second; nothing may be left behind."""
    (folder / "launch.py").write_text(LAUNCHER)
    (folder / "work.py").write_text(WORKER + f"    if first:\n        {first}\n    else:\n        {second}\n")
    (folder / "temporary").mkdir()
    more = {"TMPDIR": "temporary", "ATTEMPTS": str(attempts), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "launch.py", "work.py", "--n", "a b"]
    done = subprocess.run(command, cwd=folder, env=os.environ | more, capture_output=True, text=True, timeout=60)
    assert not list((folder / "temporary").iterdir())
    return done


def test_what_was_said_first_is_shown_once_below_what_the_launcher_says(tmp_path: Path) -> None:
    speaks_first = "speaker.say('the text ends\\n'); Path('said').touch(); sys.exit(1)"
    done = launched(tmp_path, "wait_for('said'); speaker.say('so I stop\\n'); sys.exit(1)", speaks_first)
    assert done.returncode == 1
    assert done.stderr == "FAILED: a wall of text\nthe text ends\n"
    assert done.stdout == ""


@pytest.mark.parametrize(("first", "second"), [(KILLED, PATIENT), (PATIENT, KILLED), (KILLED, "sys.exit(1)")])
def test_where_all_were_killed_the_one_who_waits_says_it(tmp_path: Path, first: str, second: str) -> None:
    assert launched(tmp_path, first, second).stderr == "FAILED: a wall of text\nall were killed\n"


def test_a_process_knows_which_others_were_killed(tmp_path: Path) -> None:
    begin = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    wait = "[time.sleep(0.01) for _ in iter(lambda: bool(speaker.killed()), True)]"
    say = "speaker.say(f'missing: {speaker.killed()}\\n'); sys.exit(1)"
    done = launched(tmp_path, f"{begin}; Path('ready').touch(); {wait}; {say}", f"wait_for('ready'); {KILLED}")
    assert done.stderr == "FAILED: a wall of text\nmissing: ['1']\n"


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)"])
def test_success_is_silent(tmp_path: Path, end: str) -> None:
    done = launched(tmp_path, end, end)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_failure_that_the_launcher_made_good_is_forgotten(tmp_path: Path) -> None:
    fails_once = "os.environ['ATTEMPT'] == '0' and sys.exit(1)"
    assert launched(tmp_path, "pass", fails_once, attempts=2).stderr == ""


def test_the_command_is_the_launcher_s(tmp_path: Path) -> None:
    says = "speaker.say(' '.join(Launcher.find().start)); sys.exit(1)"
    assert launched(tmp_path, says, PATIENT).stderr.endswith("\nlaunch.py")


def test_a_process_that_nobody_launched_has_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Launcher.find() is None
    monkeypatch.setenv("WORLD_SIZE", "2")  # as a scheduler sets it
    assert Launcher.find() is None
