"""Where text comes from: the organism's corpus, the paper's mix, any hub dataset, or local files.

Every source is a streaming `datasets.IterableDataset` of `{"text": str}`, so that all of them shard and resume alike.
"""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Features, IterableDataset, Value, interleave_datasets, load_dataset
from datasets.exceptions import DatasetNotFoundError

from toolkit.artifacts import sha256
from toolkit.organism import corpus
from toolkit.organism.corpus import Mix
from toolkit.organism.problems import Split

EMBEDDED = "organism"
PAPER_MIX = "reasoning+general"
PAPER_SOURCES = ("open-thoughts/OpenThoughts-114k", "togethercomputer/RedPajama-Data-1T-Sample")
BUILDERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
HELD_OUT_EVERY = 20
ORGANISM_DOCUMENTS = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Training and held-out documents of one source, with what provenance needs to know of it."""

    train: IterableDataset
    held_out: IterableDataset
    origin: dict[str, Any]


def open_corpus(data: str, *, text_field: str, mix: tuple[float, float], seed: int) -> Corpus:
    """Open `organism`, `reasoning+general`, a hub dataset, or local files (a path or a pattern).

    The organism holds out operand pairs; of any other source every twentieth document is held out.

    Raises:
        ValueError: nothing stands at the path, the file's kind is unknown, or the hub cannot be reached.
    """
    if data == EMBEDDED:
        return Corpus(
            train=_organism("train", seed),
            held_out=_organism("held_out", seed),
            origin={"source": "toolkit.organism.corpus", "mix": "distilled", "seed": seed},
        )
    if data == PAPER_MIX:
        parts = [_texts(_from_hub(name), text_field) for name in PAPER_SOURCES]
        whole = interleave_datasets(parts, probabilities=list(mix), seed=seed)
        return _split(whole, {"source": list(PAPER_SOURCES), "probabilities": list(mix), "seed": seed})
    if files := local_files(data):
        whole = _texts(_from_files(files), text_field)
        return _split(whole, {"source": data, "files": {path: sha256(Path(path)) for path in files}})
    whole = _from_hub(data)
    revision = str(whole.info.version) if whole.info and whole.info.version else None
    return _split(_texts(whole, text_field), {"source": data, "revision": revision})


def open_records(data: str) -> IterableDataset:
    """Open a hub dataset or local files with all their fields, in their order.

    Raises:
        ValueError: as `open_corpus` does.
    """
    files = local_files(data)
    return _from_files(files) if files else _from_hub(data)


def _organism(split: Split, seed: int) -> IterableDataset:
    arguments = {"mix": "distilled", "split": split, "seed": seed}
    return IterableDataset.from_generator(
        _organism_texts, features=Features({"text": Value("string")}), gen_kwargs=arguments
    )


def _organism_texts(mix: Mix, split: Split, seed: int) -> Iterator[dict[str, str]]:
    for index in range(ORGANISM_DOCUMENTS):
        yield {"text": corpus.document(index, mix=mix, split=split, seed=seed).text}


def _split(whole: IterableDataset, origin: dict[str, Any]) -> Corpus:
    held_out = whole.filter(lambda _, index: index % HELD_OUT_EVERY == 0, with_indices=True)
    train = whole.filter(lambda _, index: index % HELD_OUT_EVERY != 0, with_indices=True)
    return Corpus(train=train, held_out=held_out, origin=origin)


def local_files(data: str) -> list[str]:
    """The files that a path, a folder or a pattern stands for; none for what may be a name on the hub."""
    path = Path(data).expanduser()
    if path.is_dir():
        files = sorted(str(file) for file in path.rglob("*") if _builder(str(file)))
        if not files:
            raise ValueError(f"{data} holds no {', '.join(BUILDERS)} files (.gz too): give a folder or file that does")
        return files
    files = sorted(glob.glob(str(path)))
    if not files and (path.suffix or data.startswith((".", "/", "~"))):
        raise ValueError(f"no file at {data}: give a path, a pattern, a hub dataset, {PAPER_MIX!r} or {EMBEDDED!r}")
    return files


def _builder(path: str) -> str | None:
    return BUILDERS.get(Path(path.removesuffix(".gz")).suffix)


def _from_files(files: list[str]) -> IterableDataset:
    builders = {_builder(path) for path in files}
    if None in builders or len(builders) > 1:
        raise ValueError(f"{files[:3]}: give files of one kind, out of {', '.join(BUILDERS)} (.gz too)")
    for path in files:
        _check_readable(Path(path))
    builder = builders.pop()
    extra = {"sample_by": "paragraph"} if builder == "text" else {}
    try:
        records = load_dataset(builder, data_files=files, split="train", streaming=True, **extra)
        next(iter(records), None)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{files[0]} cannot be read as {builder} ({error}): give whole files of one kind") from error
    return records


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    if empty:
        raise ValueError(f"{path} is empty: give a file with text in it")


def _from_hub(name: str) -> IterableDataset:
    try:
        try:
            return load_dataset(name, split="train", streaming=True)
        except RuntimeError:  # a repository with a loading script, which `datasets` no longer runs: the hub's own copy
            return load_dataset(name, split="train", streaming=True, revision="refs/convert/parquet")
    except (ConnectionError, DatasetNotFoundError, OSError) as error:
        raise ValueError(
            f"dataset {name!r} is no local path and the hub did not give it ({type(error).__name__}): check the name"
            " and the network, or download it and give --data the path of its files"
        ) from error


def _texts(records: IterableDataset, field: str) -> IterableDataset:
    """Records to `{"text"}`: the text field, or a conversation's turns, verbatim, one after the other."""
    return records.map(lambda record: {"text": _text(record, field)}).select_columns(["text"])


def _text(record: dict[str, Any], field: str) -> str:
    if isinstance(record.get(field), str):
        return str(record[field])
    for name in ("messages", "conversations"):
        if record.get(name):
            return "\n\n".join(turn.get("content") or turn.get("value") or "" for turn in record[name])
    raise ValueError(
        f"a record has no text in field {field!r} and no messages; its fields are {sorted(record)}: name one with"
        " --text-field"
    )
