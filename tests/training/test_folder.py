import json
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from toolkit.artifacts import DiskFullError
from toolkit.dictionaries.training import StepMetrics
from toolkit.library_warnings import ToolkitWarning
from toolkit.settings.crosscoder_run import RunOutput
from toolkit.settings.run_files import REPORT
from toolkit.training.checkpoints import Checkpoint
from toolkit.training.folder import RunFolder

ORIGIN = {
    "command": "python",
    "models": {"base": "cafe"},
    "sha256": {},
    "data": {"source": "organism", "mix": (0.5, 0.5)},
}
SETTINGS = {"k": 20, "layers": (3, 5), "data": "organism"}


def record(step: int) -> dict[str, object]:
    """What a run writes down of a step."""
    return {each.name: 0.5 for each in fields(StepMetrics)} | {"step": step}


def start(path: Path, keep: int = 2, **changes) -> RunFolder:
    """A folder that holds a run of one step."""
    folder = RunFolder.open(RunOutput(out=path, keep_checkpoints=keep), SETTINGS | changes)
    folder.write_json("config.json", {"run": SETTINGS | changes})
    folder.append_record(record(1))
    return folder


def reopen(path: Path, *, resume: bool = False, overwrite: bool = False, **changes) -> RunFolder:
    return RunFolder.open(RunOutput(out=path, resume=resume, overwrite=overwrite), SETTINGS | changes)


def test_a_folder_that_holds_a_run_is_refused(tmp_path):
    start(tmp_path)
    with pytest.raises(ValueError, match=r"already holds a run: add --resume .* --overwrite .* another --out"):
        reopen(tmp_path)
    with pytest.raises(ValueError, match="--resume and --overwrite exclude each other"):
        reopen(tmp_path, resume=True, overwrite=True)


def test_a_run_that_never_took_a_step_is_no_run(tmp_path):
    reopen(tmp_path / "new" / "run").write_json("config.json", {"run": SETTINGS})
    reopen(tmp_path / "new" / "run", k=21)


def test_a_file_in_the_folder_s_place_is_refused(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(ValueError, match="is a file, not a folder"):
        reopen(tmp_path / "run")


def test_resuming_takes_the_same_settings_and_names_others(tmp_path):
    start(tmp_path)
    assert reopen(tmp_path, resume=True).records() == [record(1)]
    with pytest.raises(ValueError, match=r"other settings \(k: 20 then, 21 now, lr: None then, 0\.1 now\)"):
        reopen(tmp_path, resume=True, k=21, lr=0.1)


def test_overwriting_removes_the_run_and_nothing_else(tmp_path):
    folder = start(tmp_path)
    folder.checkpoints.save(Checkpoint(step=1, tensors={"weights": torch.zeros(3)}, state={}))
    with folder.outputs.writing("provenance.json", "metrics.json", "crosscoder.safetensors", *REPORT):
        (tmp_path / "figures").mkdir()
        for name in ("provenance.json", "metrics.json", "crosscoder.safetensors", *REPORT):
            (tmp_path / name).touch()
    (tmp_path / "notes").mkdir()
    for name in ("figures/mine.png", "notes/a.png", "thesis.tex", "checkpoints/step-000000001/mine.txt"):
        (tmp_path / name).touch()
    again = reopen(tmp_path, overwrite=True, k=21)
    assert (tmp_path / "report.html").exists()  # nothing goes before all else is known to be well
    again.begin(SETTINGS | {"k": 21}, ORIGIN, resume=False)
    left = ["checkpoints", "config.json", "figures", "notes", "provenance.json", "thesis.tex", "written.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    assert [path.name for path in tmp_path.glob("checkpoints/*/*")] == ["mine.txt"]
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["mine.png"]
    assert again.read_json("config.json")["run"]["k"] == 21


def test_a_run_of_a_version_without_manifests_is_gone_on_with_or_replaced(tmp_path):
    folder = start(tmp_path)
    folder.begin(SETTINGS, ORIGIN, resume=True)
    folder.checkpoints.save(Checkpoint(step=1, tensors={"weights": torch.zeros(3)}, state={}))
    for name in ("report.html", "crosscoder.safetensors", "mine.html"):
        (tmp_path / name).touch()
    (tmp_path / "written.json").unlink()
    with folder.outputs.held():
        again = reopen(tmp_path, resume=True)
        again.begin(SETTINGS, ORIGIN, resume=True)
        assert again.checkpoints.newest_whole()
    (tmp_path / "written.json").unlink()
    with folder.outputs.held():
        reopen(tmp_path, overwrite=True).begin(SETTINGS, ORIGIN, resume=False)
    left = ["config.json", "mine.html", "provenance.json", "written.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left


@pytest.mark.parametrize("name", ["models", "data"])
def test_resuming_with_other_inputs_names_them(tmp_path, name):
    folder = start(tmp_path)
    folder.begin(SETTINGS, ORIGIN, resume=False)
    folder.append_record(record(1))
    again = reopen(tmp_path, resume=True)
    again.begin(SETTINGS, ORIGIN, resume=True)
    with pytest.raises(ValueError, match=rf"started with other inputs \({name}: .* then, .* now\)"):
        again.begin(SETTINGS, ORIGIN | {name: {"file": "beef"}}, resume=True)
    again.write_json("provenance.json", {each: value for each, value in ORIGIN.items() if each != name})
    with pytest.raises(ValueError, match=rf"does not say which {name} .* earlier version .* again with --overwrite"):
        again.begin(SETTINGS, ORIGIN, resume=True)


def test_a_run_whose_text_was_mended_goes_on_with_a_warning_and_is_still_the_same_run(tmp_path):
    text = {"source": "texts", "files": {"a.jsonl": "cafe", "b.jsonl": "babe"}, "cut at": {}}
    folder = start(tmp_path)
    folder.begin(SETTINGS, ORIGIN | {"data": text}, resume=False)
    identity = folder.identity()
    mended = ORIGIN | {"data": text | {"files": {"a.jsonl": "cafe", "b.jsonl": "beef"}}}
    for _ in range(2):
        with pytest.warns(
            UserWarning, match=r"changed since the run began \(b\.jsonl\): it goes on with the record after"
        ):
            folder.begin(SETTINGS, mended, resume=True)
        assert folder.identity() == identity
        assert folder.read_json("provenance.json")["mended"] == {"b.jsonl": "beef"}
    for other in ({"files": {"a.jsonl": "cafe"}}, {"cut at": {"a": "line ends"}}):
        with pytest.raises(ValueError, match="started with other inputs"):
            folder.begin(SETTINGS, ORIGIN | {"data": text | other}, resume=True)


def test_json_is_written_whole_and_leaves_nothing_beside_it(tmp_path):
    folder = start(tmp_path)
    folder.write_json("metrics.json", {"pair": "R1 – ‖x‖", "fve": 0.5})
    assert folder.read_json("metrics.json") == {"pair": "R1 – ‖x‖", "fve": 0.5}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "metrics.json",
        "metrics.jsonl",
        "written.json",
    ]


def test_records_of_steps_taken_again_are_dropped_and_so_is_a_broken_line(tmp_path):
    folder = start(tmp_path)
    for step in range(2, 6):
        folder.append_record(record(step))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    folder.drop_records_after(3)
    assert [each["step"] for each in folder.records()] == [1, 2, 3]
    assert RunFolder(path=tmp_path / "other").records() == []


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '{"a": 1}', '{"step": 3}', "\xff", "[" * 9999])
def test_a_damaged_line_is_left_out_and_said(tmp_path, line):
    folder = start(tmp_path)
    folder.append_record(record(2))
    path = tmp_path / "metrics.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{line}\n{second}\n", encoding="latin-1")
    with pytest.warns(ToolkitWarning, match=r"metrics.jsonl is damaged: left out line 2$"):
        folder.drop_records_after(2)
    assert path.read_text() == f"{first}\n{second}\n"


def test_settings_are_sealed_beside_the_crosscoder_s_and_those_of_folders_without_a_seal_are_read(
    tmp_path, random_crosscoder
):
    folder, path = start(tmp_path), tmp_path / "config.json"
    assert folder.identity()
    folder.begin(SETTINGS, ORIGIN, resume=True)
    folder.save_crosscoders([(0, random_crosscoder())], None)
    folder.begin(SETTINGS, ORIGIN, resume=True)
    assert set(folder.read_json("config.json")["sha256"]) == {"run", "crosscoder", "crosscoder.safetensors"}
    whole = path.read_text()
    for changed in (whole.replace('"k": 20', '"k": 21'), whole.replace('"run": {', '"ran": {')):
        assert changed != whole
        path.write_text(changed)
        with pytest.raises(ValueError, match=r'config.json is not as it was saved: its sha256 differs from "run"'):
            reopen(tmp_path, resume=True, k=21)
    content = json.loads(whole)
    del content["sha256"]["run"]
    path.write_text(json.dumps(content))
    reopen(tmp_path, resume=True)


def test_a_crosscoder_is_evaluated_where_it_and_its_metrics_are_as_they_were_written(tmp_path, random_crosscoder):
    folder = start(tmp_path)
    folder.save_crosscoders([(0, random_crosscoder())], None)
    assert not folder.is_evaluated
    folder.write_json("metrics.json", {"fve": 0.5})
    assert folder.is_evaluated
    (tmp_path / "metrics.json").write_text("{}")
    assert not folder.is_evaluated
    (tmp_path / "written.json").unlink()
    assert not folder.is_evaluated


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"a": 1}', '{"run": []}', '{"models": 1}', "x", ""])
@pytest.mark.parametrize("name", ["config.json", "provenance.json"])
def test_files_of_another_shape_are_refused_in_a_line(tmp_path, name, content):
    folder = start(tmp_path)
    folder.begin(SETTINGS, ORIGIN, resume=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}|started with other") as refused:
        reopen(tmp_path, resume=True).begin(SETTINGS, ORIGIN, resume=True)
    assert "\n" not in str(refused.value)


def test_models_that_moved_are_the_same_run(tmp_path):
    folder = start(tmp_path, base="here", distilled="there")
    folder.begin(SETTINGS | {"base": "here", "distilled": "there"}, ORIGIN, resume=False)
    folder.append_record(record(1))
    before = folder.identity()
    moved = reopen(tmp_path, resume=True, base="elsewhere", distilled="there")
    moved.begin(SETTINGS | {"base": "elsewhere", "distilled": "there"}, ORIGIN, resume=True)
    assert moved.identity() == before
    assert moved.read_json("config.json")["run"]["base"] == "elsewhere"


def test_another_run_has_another_identity(tmp_path):
    folder = start(tmp_path)
    folder.begin(SETTINGS, ORIGIN, resume=False)
    before = folder.identity()
    for settings, origin in ((SETTINGS | {"k": 21}, ORIGIN), (SETTINGS, ORIGIN | {"models": {"base": "beef"}})):
        folder.begin(settings, origin, resume=False)
        assert folder.identity() != before
    folder.begin(SETTINGS, ORIGIN | {"command": "another"}, resume=False)
    assert folder.identity() == before


def test_a_full_disk_stops_the_records_too(tmp_path, small_disk):
    folder = start(tmp_path)
    with small_disk():
        for step in range(2, 5):
            folder.append_record(record(step))
        with pytest.raises(DiskFullError, match="no room left"):
            folder.append_record(record(5) | {"note": "x" * 10_000})
    folder.drop_records_after(4)
    assert [each["step"] for each in folder.records()] == [1, 2, 3, 4]
    with small_disk(), pytest.raises(DiskFullError, match="then --resume"):
        folder.write_json("config.json", {"run": "x" * 10_000})
    assert folder.read_json("config.json")["run"]["k"] == 20


def test_too_little_space_is_refused_before_the_run(tmp_path):
    folder = start(tmp_path, keep=3)
    folder.require_space(1000)
    with pytest.raises(DiskFullError, match=r"3 checkpoints and one being written take 4000000000\.00 GB: free some"):
        folder.require_space(10**18)
