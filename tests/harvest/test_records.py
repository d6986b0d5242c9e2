import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from toolkit.harvest.records import LOOKED_AT, Record, cut_at_blank_lines, read_records, usable
from toolkit.models.text.messages import UnusableError

LINES = b'{"text": "a"}\n{"text": "b"}\n'


def written(path: Path, content: bytes | str) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def found(path: str) -> list[object]:
    """The text of each record, or why it has none."""
    return [
        record.fields.why if isinstance(record.fields, UnusableError) else record.fields.get("text")
        for record in read_records(path)
    ]


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        LINES.replace(b"\n", b"\r\n"),
        LINES.rstrip(),
        b"\n" + LINES.replace(b"\n", b"\n  \n"),
        b"\xef\xbb\xbf" + LINES,
        LINES.decode().encode("utf-16"),
        LINES.decode().encode("utf-32"),
        gzip.compress(LINES, mtime=0),
        gzip.compress(b"\xef\xbb\xbf" + LINES, mtime=0),
        b'[{"text": "a"}, {"text": "b"}]',
        b'[\n  {\n    "text": "a"\n  },\n  {"text": "b"}\n]\n',
        b'{"text": "a", "score": NaN}\n{"meta": {"x": [1]}, "text": "b"}\n',
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz"])
def test_json_in_every_dress(tmp_path, content, name):
    assert found(written(tmp_path / name, content)) == ["a", "b"]


def test_a_file_that_is_one_object_is_one_record(tmp_path):
    assert found(written(tmp_path / "a.json", json.dumps({"text": "a"}, indent=2))) == ["a"]


def test_line_feeds_alone_end_a_line(tmp_path):
    text = "one\u2028two\u2029three\x85four\x0cfive\x0bsix\x1cseven\reight"
    path = written(tmp_path / "a.jsonl", json.dumps({"text": text}, ensure_ascii=False) + "\n" + '{"text": "a\tb"}')
    assert found(path) == [text, "a\tb"]


def test_a_malformed_line_costs_itself_alone(tmp_path):
    lines = [b'{"text": "a"}', b'{"text": "cut', b"3", b'"text"', b'{"text": "\xff"}', b"[" * 100_000, b'{"text": "b"}']
    path = written(tmp_path / "a.jsonl", b"\n".join(lines))
    assert found(path) == ["a", *["malformed"] * 5, "b"]
    records = list(read_records(path))
    assert records[1].place == f"{path}, line 2"
    assert "not JSON" in str(records[1].fields)
    assert "not UTF-8" in str(records[4].fields)


def test_a_malformed_array_is_named_by_its_line(tmp_path):
    path = written(tmp_path / "a.json", '[\n{"text": "a"},\n{"text": "b"},,\n]')
    with pytest.raises(ValueError, match=r"a\.json cannot be read as json \(.*line 3 column"):
        found(path)


@pytest.mark.parametrize("kind", ["jsonl.gz", "txt.gz"])
def test_a_file_cut_short_says_how_far_it_was_read(tmp_path, kind):
    whole = gzip.compress("".join(f'{{"text": "document {i * i}"}}\n' for i in range(5000)).encode())
    path = written(tmp_path / f"a.{kind}", whole[: len(whole) // 2])
    beyond = r" beyond its first [\d,]+ records" if kind == "jsonl.gz" else ""  # a text is looked through before
    with pytest.raises(ValueError, match=rf"a\.{kind} cannot be read as \w+{beyond} \(Compressed file ended"):
        list(read_records(path))


def test_parquet_rows_come_with_the_columns_asked_for(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", None], "other": [1, 2]}), path)
    assert found(str(path)) == ["a", None]
    assert next(read_records(str(path), frozenset({"text", "messages"}))).fields == {"text": "a", "other": None}
    written(path, path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read as parquet"):
        found(str(path))


@pytest.mark.parametrize(
    ("content", "documents", "blank_lines"),
    [
        ("one\ntwo\nthree\n", ["one", "two", "three"], False),
        ("one\ntwo\n\nthree\n", ["one\ntwo", "three"], True),
        ("\n\none\ntwo\n\n\n", ["one", "two"], False),
        ("one\r\ntwo\r\n\r\nthree", ["one\ntwo", "three"], True),
        ("one\n  two\n \t\n\nthree  \n", ["one\n  two", "three  "], True),
        ("\ufeffone long document", ["one long document"], False),
        ("one\u2028two\x0cthree\n", ["one\u2028two\x0cthree"], False),
        ("", [], False),
        ("\n \n", [], False),
    ],
)
def test_a_text_is_cut_at_blank_lines_where_there_are_any_else_at_line_ends(tmp_path, content, documents, blank_lines):
    path = written(tmp_path / "a.txt", content)
    assert found(path) == documents
    assert cut_at_blank_lines(path) is blank_lines
    for encoding in ("utf-16", "utf-8-sig"):
        assert found(written(tmp_path / "b.txt", content.removeprefix("\ufeff").encode(encoding))) == documents


def test_text_of_another_encoding_costs_the_documents_that_hold_it(tmp_path):
    assert found(written(tmp_path / "a.txt", "one\ncafé\ntwo\n".encode("latin-1"))) == ["one", "malformed", "two"]
    assert set(found(written(tmp_path / "b.txt", "one\ntwo".encode("utf-16-le")))) == {"malformed"}


def test_unusable_records_are_counted_by_reason_and_the_first_is_named_where_nothing_else_is_there():
    def read(fields) -> str:
        if fields["n"] % 2:
            raise UnusableError("odd", f"{fields['n']} is odd")
        return str(fields["n"])

    def records(*numbers: int) -> list[Record]:
        return [Record(f"line {i}", {"n": n}) for i, n in enumerate(numbers, start=1)]

    left_out: Counter[str] = Counter()
    broken = Record("line 9", UnusableError("malformed", "it is cut"))
    assert list(usable([*records(1, 2, 3, 4), broken], read, left_out, data="x")) == ["2", "4"]
    assert left_out == {"odd": 2, "malformed": 1}
    with pytest.raises(ValueError, match=r"x has no usable record \(2 odd\): line 1: 5 is odd"):
        list(usable(records(5, 7), read, Counter(), data="x"))
    with pytest.raises(ValueError, match="x has no usable record: it is empty"):
        list(usable([], read, Counter(), data="x"))
    endless = (Record("line", {"n": 1}) for _ in iter(int, 1))
    with pytest.raises(ValueError, match=f"{LOOKED_AT:,} odd"):
        list(usable(endless, read, Counter(), data="x"))
