import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from toolkit.artifacts import (
    DiskFullError,
    explaining_a_full_disk,
    provenance,
    read_json_object,
    read_sealed,
    read_section,
    sha256,
    write_json,
    write_sealed,
)


def test_json_is_written_in_one_move_and_read_back(tmp_path, small_disk):
    path = tmp_path / "a.json"
    write_json(path, {"pair": "R1 – ‖x‖", "fve": 0.5})
    assert "R1 – ‖x‖".encode() in path.read_bytes()
    with small_disk(), pytest.raises(DiskFullError, match="no room left") as error:
        write_json(path, {"run": "x" * 10_000})
    assert "--resume" not in str(error.value)
    assert read_json_object(path) == {"pair": "R1 – ‖x‖", "fve": 0.5}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "a.json is not JSON"),
        (b"\xff", "a.json is not JSON"),
        (b"[1]", "a.json holds list, expected a JSON obj"),
        (b"[" * 9999, "a.json is not JSON"),
        (b"1" * 9999, "a.json is not JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_json_object(tmp_path / "a.json")


def test_a_section_is_an_object_or_refused(tmp_path):
    write_json(tmp_path / "a.json", {"run": {"k": 1}, "other": [1]})
    assert read_section(tmp_path / "a.json", "run") == {"k": 1}
    assert read_section(tmp_path / "a.json", "none") == {}
    with pytest.raises(ValueError, match=r'a.json holds list under "other", expected a JSON object'):
        read_section(tmp_path / "a.json", "other")


def test_any_other_content_than_was_sealed_is_refused(tmp_path):
    path, content = tmp_path / "a.json", {"a": [1, 2.5, None], "b": {"c": "é", "d": True}}
    write_sealed(path, content)
    assert read_sealed(path) == content
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            assert read_sealed(path) == content  # a space, perhaps
        except ValueError as error:
            assert "a.json is not" in str(error)  # noqa: PT017
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"a.json is not as it was written: its sha256 differs"):
        read_sealed(path)


def test_the_outer_of_two_explanations_of_a_full_disk_is_given(tmp_path, small_disk):
    with (
        small_disk(),
        pytest.raises(DiskFullError, match=r"no room left to write to outside \([^()]*\): resume$"),
        explaining_a_full_disk(Path("outside"), lambda: ": resume"),
    ):
        write_sealed(tmp_path / "a.json", {"text": "x" * 10_000})


def test_provenance_says_what_a_result_came_from(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--data", "my texts/*.txt"])
    (tmp_path / "a").write_bytes(b"weights")
    inputs = {"a": sha256(tmp_path / "a")}
    found = json.loads(json.dumps(provenance(seed=3, data={"source": "x"}, inputs=inputs)))
    assert found["command"].endswith("train.py --data 'my texts/*.txt'")
    assert found["sha256"]["a"] == hashlib.sha256(b"weights").hexdigest()
    assert (found["seed"], found["data"]) == (3, {"source": "x"})
    assert found["versions"]["torch"] == version("torch")
    assert found["commit"] is None or len(found["commit"].removesuffix("-dirty")) == 40
