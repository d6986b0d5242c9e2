"""Sources of text: the organism's corpus, the paper's mix, any hub dataset, or local files.

Every source is a streaming `datasets.IterableDataset`, so that all of them shard and resume alike. Each record becomes
`{"text", "left_out"}`, even one that cannot be used. So the number of a record, which decides its shard, does not
depend on other records. `left_out` says why a record has no text, or that parts of its messages are not text.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Features, IterableDataset, Value, interleave_datasets, load_dataset
from datasets.exceptions import DatasetNotFoundError

from toolkit.artifacts import sha256
from toolkit.harvest.choices import EMBEDDED, EMBEDDED_THINKING, PAPER_MIX
from toolkit.harvest.local_files import kind_of, local_files
from toolkit.harvest.reasoning_records import MESSAGES
from toolkit.harvest.records import Fields, Record, cut_at_blank_lines, read_records, usable
from toolkit.models.text.messages import UnusableError, kind_of_value, read_messages
from toolkit.models.text.tokenizers import well_formed
from toolkit.organism import corpus
from toolkit.organism.corpus import Mix
from toolkit.organism.problems import Split

PAPER_SOURCES = ("open-thoughts/OpenThoughts-114k", "togethercomputer/RedPajama-Data-1T-Sample")
HELD_OUT_EVERY = 20
VALIDATION = "validation"
LayOut = Callable[[Fields], str]
"""Makes one text of a record's conversation; raises `UnusableError` for a record that gives none."""
ORGANISM_DOCUMENTS = 10_000_000
ORGANISM_MIXES: dict[str, Mix] = {EMBEDDED: "distilled", EMBEDDED_THINKING: "thinking"}
TEXTS = Features({"text": Value("string"), "left_out": Value("string")})
PARTS = "without images or the like"
"""Why a record with text is incomplete: parts of its messages, such as images, are not text."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Training and held-out documents of one source, with what provenance records of the source."""

    train: IterableDataset
    held_out: IterableDataset
    origin: dict[str, Any]
    whole: IterableDataset | None = None
    """All documents; None for a source that never ends."""
    part: str = "held out"
    """The part of the text that `held_out` holds, in words for reports."""

    def __repr__(self) -> str:
        return f"Corpus of {', '.join(f'{name} {value}' for name, value in self.origin.items())}; read: {self.part}"

    def read_whole(self) -> "Corpus":
        """Return the corpus for models not trained on it: `held_out` is all documents, unless the source never ends."""
        return self if self.whole is None else replace(self, held_out=self.whole, part="read whole")


def open_corpus(
    data: str,
    *,
    text_field: str,
    mix: tuple[float, float],
    seed: int,
    lay_out: LayOut | None = None,
    own_held_out: bool = False,
) -> Corpus:
    """Open `organism`, `organism-thinking`, `reasoning+general`, a hub dataset, or local files (a path or a pattern).

    The organism holds out operand pairs; of any other source every twentieth document is held out, or with
    `own_held_out` a hub dataset's validation split, where it has one. `lay_out` makes one text of a record's
    conversation, whose turns otherwise follow each other verbatim.

    Raises:
        ValueError: nothing is at the path, a file cannot be read, no record has text, or the hub cannot be reached.
    """
    if mix_of_organism := ORGANISM_MIXES.get(data):
        return Corpus(
            train=_organism(mix_of_organism, "train", seed),
            held_out=_organism(mix_of_organism, "held_out", seed),
            origin={"source": "toolkit.organism.corpus", "mix": mix_of_organism, "seed": seed},
        )
    if data == PAPER_MIX:
        parts = [_texts(_from_hub(name), name, text_field, lay_out) for name in PAPER_SOURCES]
        whole = interleave_datasets(parts, probabilities=list(mix), seed=seed)
        return _split(whole, {"source": list(PAPER_SOURCES), "probabilities": list(mix), "seed": seed})
    if files := local_files(data):
        _require_text((record for path in files for record in _of_file(path, text_field)), text_field, data, lay_out)
        settings = {"paths": files, "text_field": text_field, "lay_out": lay_out}
        whole = IterableDataset.from_generator(_texts_of_files, features=TEXTS, gen_kwargs=settings)
        return _split(whole, _files_origin(data, files))
    records = _from_hub(data)
    revision = str(records.info.version) if records.info and records.info.version else None
    origin, texts = {"source": data, "revision": revision}, _texts(records, data, text_field, lay_out)
    if own_held_out and (validation := _validation_split(data)) is not None:
        held_out = _texts(validation, data, text_field, lay_out)
        return Corpus(train=texts, held_out=held_out, origin=origin | {"held_out": VALIDATION}, whole=texts)
    return _split(texts, origin)


def open_records(data: str) -> Iterator[Record]:
    """Read the records of a hub dataset or of local files with all their fields, in their order.

    Raises:
        ValueError: as `open_corpus` does, except that records need no text.
    """
    if files := local_files(data):
        return (record for path in files for record in read_records(path))
    return _numbered(_from_hub(data), data)


def text_of(record: Fields, field: str, lay_out: LayOut | None = None) -> tuple[str, str]:
    """Return a record's text and its `left_out`; the text is the text field, or a conversation's turns, verbatim.

    A field that holds a list is read as messages. `lay_out` makes one text of a record with messages in another way.
    Half a surrogate pair becomes U+FFFD.
    Raises `UnusableError` for a record without text.
    """
    value = record.get(field)
    if isinstance(value, str) and value and not value.isspace():
        return well_formed(value), ""
    name = field if isinstance(value, list | dict) else next((n for n in MESSAGES if record.get(n) is not None), None)
    if name is not None:
        found = read_messages(record[name])
        text = lay_out(record) if lay_out else "\n\n".join(text for _, text in found.turns)
        return well_formed(text), PARTS if found.parts_left_out else ""
    if value is None or isinstance(value, str):
        raise UnusableError(
            "no text",
            f"it has no text in field {field!r} and no messages; its fields are {sorted(record)}: name one with"
            " --text-field",
        )
    raise UnusableError(
        "not text", f"its field {field!r} holds {kind_of_value(value)}, not text: name another with --text-field"
    )


def _organism(mix: Mix, split: Split, seed: int) -> IterableDataset:
    arguments = {"mix": mix, "split": split, "seed": seed}
    return IterableDataset.from_generator(
        _organism_texts, features=Features({"text": Value("string")}), gen_kwargs=arguments
    )


def _organism_texts(mix: Mix, split: Split, seed: int) -> Iterator[dict[str, str]]:
    for index in range(ORGANISM_DOCUMENTS):
        yield {"text": corpus.document(index, mix=mix, split=split, seed=seed).text}


def _split(whole: IterableDataset, origin: dict[str, Any]) -> Corpus:
    held_out = whole.filter(lambda _, index: index % HELD_OUT_EVERY == 0, with_indices=True)
    train = whole.filter(lambda _, index: index % HELD_OUT_EVERY != 0, with_indices=True)
    return Corpus(train=train, held_out=held_out, origin=origin, whole=whole)


def _files_origin(data: str, files: list[str]) -> dict[str, Any]:
    origin: dict[str, Any] = {"source": data, "files": {path: sha256(Path(path)) for path in files}}
    if kind_of(files[0]) == "text":
        origin["cut at"] = {path: "blank lines" if cut_at_blank_lines(path) else "line ends" for path in files}
    return origin


def _validation_split(name: str) -> IterableDataset | None:
    """The validation split of a hub dataset whose training split the hub gave, or None where it has none."""
    try:
        return _from_hub(name, VALIDATION)
    except ValueError:
        return None


def _from_hub(name: str, split: str = "train") -> IterableDataset:
    try:
        try:
            return load_dataset(name, split=split, streaming=True)
        except RuntimeError:  # a repository with a loading script, which `datasets` no longer runs: the hub's own copy
            return load_dataset(name, split=split, streaming=True, revision="refs/convert/parquet")
    except (ConnectionError, DatasetNotFoundError, OSError) as error:
        raise ValueError(
            f"dataset {name!r} is no local path and the hub did not give it ({type(error).__name__}): check the name"
            " and the network, or download it and give --data the path of its files"
        ) from error


def _texts(records: IterableDataset, name: str, field: str, lay_out: LayOut | None) -> IterableDataset:
    _require_text(_numbered(records, name), field, name, lay_out)
    return records.map(lambda record: _row(record, field, lay_out), features=TEXTS).select_columns(list(TEXTS))


def _numbered(records: IterableDataset, name: str) -> Iterator[Record]:
    return (Record(f"record {number:,} of {name}", fields) for number, fields in enumerate(records, start=1))


def _of_file(path: str, field: str) -> Iterator[Record]:
    return read_records(path, frozenset((field, *MESSAGES)), text_field=field)


def _texts_of_files(paths: list[str], text_field: str, lay_out: LayOut | None) -> Iterator[dict[str, str]]:
    for path in paths:
        for record in _of_file(path, text_field):
            yield _row(record.fields, text_field, lay_out)


def _row(fields: Fields | UnusableError, field: str, lay_out: LayOut | None) -> dict[str, str]:
    try:
        if isinstance(fields, UnusableError):
            raise fields
        text, left_out = text_of(fields, field, lay_out)
    except UnusableError as error:
        return {"text": "", "left_out": error.why}
    return {"text": text, "left_out": left_out}


def _require_text(records: Iterable[Record], field: str, data: str, lay_out: LayOut | None) -> None:
    """Raise `ValueError` where no record, or none of the first thousand, has text."""
    next(usable(records, lambda fields: text_of(fields, field, lay_out), Counter(), data=data))
