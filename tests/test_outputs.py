"""What a folder's writer replaces and deletes, and that it is the only one."""

import json
import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from toolkit.outputs import MANIFEST, Claim, OutputFolder

CLAIM = Claim(
    files=("report.html", "figures/a_*.png", "export/config.json"),
    changing=("log.jsonl", "steps/step-*/*"),
    signs={"config.json": ("run",), "origin.json": ("command",)},
)
NAMES = ("report.html", "figures/a_1.png", "log.jsonl", "steps/step-1/state.json")


def write(folder: Path, *names: str, text: str = "a person's") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def run(folder: Path, *names: str) -> OutputFolder:
    """A folder in which a run has written these files."""
    outputs = OutputFolder(folder, (CLAIM,))
    with outputs.held(), outputs.writing(*names):
        write(folder, *names, text="the run's")
    return outputs


def refused(why: str) -> AbstractContextManager[object]:
    return pytest.raises(ValueError, match=why)


@pytest.mark.parametrize("name", [*NAMES, "figures", "steps/step-1"])
def test_a_file_that_no_run_wrote_is_refused_by_name_and_the_folder_left_as_it_is(tmp_path, name):
    write(tmp_path, name)
    outputs = OutputFolder(tmp_path, (CLAIM,))
    with refused(rf"holds files that this recipe may not replace: {name}"), outputs.held():
        pass
    with refused(name):
        outputs.clear()
    assert [each.name for each in tmp_path.iterdir()] == [name.split("/")[0]]
    assert (tmp_path / name).read_text(encoding="utf-8") == "a person's"


def test_a_person_s_other_files_stay_beside_the_run_s(tmp_path):
    theirs = ["thesis.tex", "figures/mine.png", "steps/notes.txt", "steps/step-1/deeper/notes.txt"]
    write(tmp_path, *theirs)
    run(tmp_path, *NAMES).clear()
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == sorted([*theirs, MANIFEST])


def test_a_run_s_own_files_are_replaced_and_cleared_with_their_folders(tmp_path):
    outputs = run(tmp_path, *NAMES)
    outputs = run(tmp_path, *NAMES)
    outputs.clear()
    assert [each.name for each in tmp_path.iterdir()] == [MANIFEST]
    outputs.remove()
    assert not tmp_path.exists()


def test_a_file_that_was_changed_since_is_refused_unless_it_changes_by_itself(tmp_path):
    outputs = run(tmp_path, *NAMES)
    write(tmp_path, "log.jsonl", "steps/step-1/state.json", "steps/step-2/state.json")
    outputs.check()
    write(tmp_path, "figures/a_1.png")
    for attempt in (outputs.held, lambda: outputs.writing("figures/a_1.png")):
        with refused(r"figures/a_1\.png \(changed since it was written\): move them away, or give --out"), attempt():
            pass
    with outputs.writing("report.html"):  # the others can be written
        pass


def die_while_writing(outputs: OutputFolder, name: str) -> None:
    with outputs.writing(name):
        write(outputs.path, name, text="half")
        raise KeyboardInterrupt


def test_what_a_kill_left_half_written_is_the_run_s(tmp_path):
    outputs = run(tmp_path, "log.jsonl")
    with pytest.raises(KeyboardInterrupt):
        die_while_writing(outputs, "report.html")
    outputs.check()


def test_other_kinds_of_runs_in_the_folder_are_left_alone(tmp_path):
    other = OutputFolder(tmp_path, (Claim(files=("other.html",)),))
    run(tmp_path, "report.html")
    with other.held(), other.writing("other.html"):
        write(tmp_path, "other.html")
    OutputFolder(tmp_path, (CLAIM,)).clear()
    other.check()
    assert (tmp_path / "other.html").exists()


@pytest.mark.parametrize("name", ["figures", "steps", "steps/step-1", "report.html"])
def test_links_are_refused_and_never_followed(tmp_path, name):
    outputs = run(tmp_path / "run", *NAMES)
    victim = tmp_path / "victim"
    place = tmp_path / "run" / name
    place.rename(victim)
    place.symlink_to(victim)
    with refused("a link"):
        outputs.clear()
    with refused("a link"), outputs.held():
        pass
    assert victim.exists()


@pytest.mark.parametrize("name", ["../victim/report.html", "/etc/passwd", "steps//x", "figures/../../x", "a\\..\\b"])
def test_a_manifest_that_names_what_is_outside_is_refused(tmp_path, name):
    outputs = run(tmp_path, "report.html")
    (tmp_path / MANIFEST).write_text(json.dumps({"files": {name: None}}), encoding="utf-8")
    with refused("not a file inside its folder"):
        outputs.clear()


@pytest.mark.parametrize("content", ["[]", '{"files": []}', "{", '{"files": {"report.html": 3}}'])
def test_a_manifest_that_is_none_is_refused(tmp_path, content):
    outputs = run(tmp_path, "report.html")
    (tmp_path / MANIFEST).write_text(content, encoding="utf-8")
    with refused(MANIFEST):
        outputs.clear()


def test_a_manifest_gives_no_file_away_that_the_run_does_not_claim(tmp_path):
    write(tmp_path, "thesis.tex")
    (tmp_path / MANIFEST).write_text(json.dumps({"files": {"*": None, "*/*": None}}), encoding="utf-8")
    OutputFolder(tmp_path, (CLAIM,)).clear()
    assert (tmp_path / "thesis.tex").exists()


def test_a_run_of_an_earlier_version_is_known_by_its_json(tmp_path):
    write(tmp_path, *NAMES)
    write(tmp_path, "config.json", text='{"run": {}}')
    outputs = OutputFolder(tmp_path, (CLAIM,))
    with refused("report.html"):
        outputs.check()
    write(tmp_path, "origin.json", text='{"command": "python"}')
    outputs.check()
    outputs.clear()
    assert not (tmp_path / "report.html").exists()
    write(tmp_path, "report.html")
    with refused("report.html"):  # what comes after is not of that version
        outputs.check()


def test_a_file_in_the_folder_s_place_is_refused(tmp_path):
    (tmp_path / "run").touch()
    with refused("is a file, not a folder"), OutputFolder(tmp_path / "run", (CLAIM,)).held():
        pass


HOLD = """
import sys
from pathlib import Path
from toolkit.outputs import Claim
from toolkit.outputs import OutputFolder
with OutputFolder(Path(sys.argv[1]), (Claim(files=("report.html",)),)).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_refused_until_the_first_is_gone_however_it_ends(tmp_path):
    outputs = OutputFolder(tmp_path, (CLAIM,))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    with (
        refused(rf"process {holder.pid} on .* writes to .*: wait for it, or give --out another folder"),
        outputs.held(),
    ):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with outputs.held():
        assert json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))["writer"]["process"] == os.getpid()
    with outputs.held():
        pass


@pytest.mark.parametrize("inside", [False, True])
def test_a_run_that_wrote_nothing_leaves_nothing(tmp_path, inside):
    with refused("bad input"), OutputFolder(tmp_path / "run", (CLAIM,), inside=inside).held():
        raise ValueError("bad input")
    assert list(tmp_path.rglob("*")) == ([] if inside else [tmp_path / "run"])


def test_a_folder_can_be_removed_by_its_writer_and_made_again(tmp_path):
    outputs = run(tmp_path / "run", "report.html")
    with outputs.held():
        outputs.remove()
        assert not (tmp_path / "run").exists()
    with outputs.held():
        assert (tmp_path / "run").exists()
