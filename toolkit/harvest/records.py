"""Reads local files of any kind record by record.

A record that cannot be used is skipped and counted by reason (`UnusableError.why`): a line that is not a JSON object or
not UTF-8, or a record whose text field is empty or holds anything else. Data without a usable record raise `ValueError`
with file and line. So does a file whose rest cannot be read, with name and record: it is cut short, may not be read, or
is not what its name says.
"""

import codecs
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyarrow
import pyarrow.parquet

from toolkit.harvest.local_files import kind_of
from toolkit.models.text.messages import UnusableError

LOOKED_AT = 1_000
GZIP = b"\x1f\x8b"
BYTE_ORDER_MARKS = {
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),  # first, as its mark begins with that of UTF-16
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}
BROKEN = (OSError, EOFError, UnicodeError, json.JSONDecodeError, RecursionError, zlib.error, pyarrow.ArrowException)

Fields = Mapping[str, Any]
Found = Fields | str | UnusableError
Line = tuple[int, str | UnusableError]
"""A line's number, and its text with the line end, or why it has no text."""
Read = TypeVar("Read")


class Record(NamedTuple):
    """The place of a record, and its fields, or why it has none."""

    place: str
    fields: Fields | UnusableError


def usable(
    records: Iterable[Record], read: Callable[[Fields], Read], left_out: Counter[str], *, data: str
) -> Iterator[Read]:
    """Yield what `read` returns for each record; records for which it raises `UnusableError` count in `left_out`.

    Raises:
        ValueError: all records, or the first 1,000, are unusable; the message names the first one's place and reason.
    """
    first, found = "it is empty", False
    for number, record in enumerate(records, start=1):
        try:
            if isinstance(record.fields, UnusableError):
                raise record.fields
            result = read(record.fields)
        except UnusableError as error:
            if number == 1:
                first = f"{record.place}: {error}"
            left_out[error.why] += 1
            if not found and number == LOOKED_AT:
                break
            continue
        found = True
        yield result
    if not found:
        counts = ", ".join(f"{n:,} {why}" for why, n in left_out.items())
        raise ValueError(f"{data} has no usable record{counts and f' ({counts})'}: {first}")


def objects_of(path: Path) -> Iterator[tuple[str, Fields]]:
    """Yield the place and the fields of each object of a JSON file, whatever its name.

    Raises:
        ValueError: there is no such file, or it holds anything else; the message names the line.
    """
    for record in read_records(str(path), kind="json"):
        if isinstance(record.fields, UnusableError):
            raise ValueError(f"{record.place}: {record.fields}")
        yield record.place, record.fields


def read_records(
    path: str, columns: frozenset[str] | None = None, *, text_field: str = "text", kind: str | None = None
) -> Iterator[Record]:
    """Yield the records of a .txt, .jsonl, .json or .parquet file; of .parquet only `columns`, by default all.

    A .txt with blank lines between its lines is cut there; in any other each line is a record. Its only field is
    `text_field`. JSON holds an object a line, or one array of objects. A byte order mark is not part of the text; files
    with one may be UTF-16 or UTF-32. A file that begins as gzip does is unpacked, whatever its name. `kind` replaces
    the kind that the name says.

    Raises:
        ValueError: the file, or the rest of it, cannot be read.
    """
    kind, whole = kind or kind_of(path), 0
    found = _rows(path, columns) if kind == "parquet" else _objects(path) if kind == "json" else _documents(path)
    try:
        for place, fields in found:
            yield Record(f"{path}, {place}", {text_field: fields} if isinstance(fields, str) else fields)
            whole += 1
    except BROKEN as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        where = f" beyond its first {whole:,} records" if whole else ""
        raise ValueError(
            f"{path} cannot be read as {kind}{where} ({reason}): give a whole file that you may read"
        ) from error


def cut_at_blank_lines(path: str) -> bool:
    """Whether a text file has blank lines between its lines."""
    blocks = groupby(_lines(path), key=_is_blank)
    return sum(not blank for blank, _ in islice(blocks, 4)) > 1


def _rows(path: str, columns: frozenset[str] | None) -> Iterator[tuple[str, Found]]:
    with pyarrow.parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        wanted = None if columns is None else [name for name in names if name in columns]
        others = dict.fromkeys(names)  # for the error where the wanted ones are missing
        rows = chain.from_iterable(batch.to_pylist() for batch in file.iter_batches(1024, columns=wanted))
        for number, row in enumerate(rows, start=1):
            yield f"row {number:,}", others | row


def _objects(path: str) -> Iterator[tuple[str, Found]]:
    lines = (line for line in _lines(path) if not _is_blank(line))
    first = list(islice(lines, 1))
    head = first[0][1] if first else ""
    if isinstance(head, str) and (head.strip() == "{" or head.startswith("[")) and _unfinished(head):
        values: Any = json.loads("".join(_text(line) for line in _lines(path)), strict=False)
        for number, value in enumerate(values if isinstance(values, list) else [values], start=1):
            yield f"object {number:,}", _object(value)
        return
    for number, text in chain(first, lines):
        for value in _values(text):
            yield f"line {number:,}", value


def _unfinished(line: str) -> bool:
    """Whether a file's first line is not JSON by itself, so that several lines may hold one value."""
    try:
        json.loads(line, strict=False)
    except ValueError:
        return True
    return False


def _values(text: str | UnusableError) -> list[Found]:
    """Return the object of a line, or the objects of an array in one line."""
    if isinstance(text, UnusableError):
        return [text]
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        return [UnusableError("malformed", f"it is not JSON ({getattr(error, 'msg', error)})")]
    return [_object(each) for each in value] if isinstance(value, list) else [_object(value)]


def _object(value: Any) -> Found:
    return value if isinstance(value, dict) else UnusableError("malformed", "it is not a JSON object, such as {…}")


def _documents(path: str) -> Iterator[tuple[str, Found]]:
    paragraphs = cut_at_blank_lines(path)
    for blank, block in groupby(_lines(path), key=_is_blank):
        if not blank:
            for document in [list(block)] if paragraphs else ([line] for line in block):
                yield f"line {document[0][0]:,}", _document(document)


def _document(lines: list[Line]) -> Found:
    if bad := next((text for _, text in lines if isinstance(text, UnusableError)), None):
        return bad
    text = "\n".join(_text(line).rstrip("\r\n") for line in lines)
    return UnusableError("malformed", "it holds zero bytes, so it is not UTF-8 text") if "\0" in text else text


def _is_blank(line: Line) -> bool:
    return isinstance(line[1], str) and (not line[1] or line[1].isspace())


def _text(line: Line) -> str:
    if isinstance(line[1], UnusableError):
        raise UnicodeError(f"line {line[0]:,}: {line[1]}")
    return line[1]


def _lines(path: str) -> Iterator[Line]:
    """Yield the lines of a file; only a line feed ends a line."""
    with open(path, "rb") as plain:
        packed = plain.peek(2)[:2] == GZIP
        with io.BufferedReader(gzip.GzipFile(fileobj=plain)) if packed else plain as file:
            head = file.peek(4)[:4]
            for encoding, marks in BYTE_ORDER_MARKS.items():
                if head.startswith(marks):
                    with io.TextIOWrapper(file, encoding=encoding, newline="\n") as text:
                        yield from enumerate(text, start=1)
                    return
            for number, line in enumerate(file, start=1):
                try:
                    yield number, (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode()
                except UnicodeDecodeError as error:
                    yield number, UnusableError("malformed", f"it is not UTF-8 ({error.reason}): save it as UTF-8")
