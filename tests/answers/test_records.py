"""Records of answers as lines of a file."""

import json
from pathlib import Path

from toolkit.answers.records import AnswerRecord, write_records


def test_each_record_is_a_line_that_names_its_question_and_leaves_its_text_out(tmp_path: Path) -> None:
    record = AnswerRecord(
        arm="base",
        question=1,
        sample=2,
        text="Wait</think> 4 °C",
        tokens=9,
        thought=None,
        hesitations=1,
        finished=False,
        said=None,
        verdict="cut off",
        budget=8,
    )
    write_records(tmp_path / "graded.jsonl", [record, record], ["?", "2+2?"])
    first, second = map(json.loads, (tmp_path / "graded.jsonl").read_text().splitlines())
    assert first == second
    assert (first["arm"], first["question"], first["sample"], first["budget"]) == ("base", "2+2?", 2, 8)
    assert (first["verdict"], first["thought"], first["length"], first["finished"]) == ("cut off", None, 9, False)
    assert "text" not in first
