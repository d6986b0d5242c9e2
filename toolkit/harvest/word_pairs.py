"""Word pairs of one function class each: from files, and as single tokens of a tokenizer."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, cat, full_like, ones_like, zeros_like
from transformers import PreTrainedTokenizerBase

from toolkit.artifacts import read_json
from toolkit.models.model.traced_model import TracedModel

SHIPPED = Path(__file__).parents[1] / "data" / "word_pairs"
SEPARATORS = {".csv": ",", ".tsv": "\t"}
SHOWN = 3  # malformed rows that an error names

Row = tuple[str, Any]
"""Where a row stands in its file, and what is there."""


@dataclass(frozen=True, kw_only=True)
class WordPairs:
    """Pairs of words with the same relation within each pair: dog, dogs; house, houses."""

    name: str
    pairs: tuple[tuple[str, str], ...]
    source: Path


@dataclass(frozen=True, kw_only=True)
class TokenPairs:
    """The pairs of a class whose words are both one token."""

    name: str
    pairs: tuple[tuple[str, str], ...]
    ids: Int[Tensor, "pair 2"]
    n_given: int
    """Pairs in the file, others included."""
    source: Path


def load_word_pairs(sources: Sequence[str]) -> list[WordPairs]:
    """Read classes of word pairs: `embedded` or `everyday` (shipped), a folder of files, or a file.

    A file holds one class, named like the file: JSON `[{"input": "dog", "output": "dogs"}, …]`, or two columns of CSV
    or TSV, with or without the header `input, output`. A pair that comes again counts once.
    Raises `ValueError` for a source that is none of these, a malformed row, which is named, and a class given twice.
    """
    paths = [path for source in sources for path in _files(source)]
    names = [path.stem for path in paths]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two files are named {', '.join(sorted(twice))}: give each class of word pairs once")
    return [_read(path) for path in paths]


def single_tokens(tokenizer: PreTrainedTokenizerBase, words: WordPairs, *, spaced: bool = False) -> TokenPairs:
    """Keep the pairs whose words are both one token as they stand (`spaced`: with a space before each).

    A pair of one word twice (put, put) stays: its step is zero. So counted, Todd et al.'s files hold 179 pairs
    english-spanish, 266 english-german, 250 english-french, 103 present-past and 32 singular-plural for Qwen2.5:
    the pairs of Baek & Tegmark 2025.
    """
    forms = [(" " if spaced else "") + word for pair in words.pairs for word in pair]
    encoded = tokenizer(forms, add_special_tokens=False)["input_ids"]
    ids = [row[0] if len(row) == 1 and row[0] != tokenizer.unk_token_id else -1 for row in encoded]
    table = torch.tensor(ids).view(-1, 2)
    kept = (table >= 0).all(dim=1)
    pairs = tuple(pair for pair, keep in zip(words.pairs, kept.tolist(), strict=True) if keep)
    return TokenPairs(name=words.name, pairs=pairs, ids=table[kept], n_given=len(words.pairs), source=words.source)


def _files(source: str) -> list[Path]:
    path = SHIPPED / source if source in ("embedded", "everyday") else Path(source).expanduser()
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix in (".json", *SEPARATORS))
        if not found:
            raise ValueError(f"{path} holds no .json, .csv or .tsv file: give a folder with files of word pairs")
        return found
    if not path.is_file():
        raise ValueError(f"no word pairs at {source!r}: give embedded, everyday, a file or a folder")
    if path.suffix not in (".json", *SEPARATORS):
        raise ValueError(f"{path}: word pairs come as .json, .csv or .tsv, not as {path.suffix or 'a bare file'}")
    return [path]


def _read(path: Path) -> WordPairs:
    rows = list(_json_rows(path) if path.suffix == ".json" else _table_rows(path))
    malformed = [f"{where}: {row!r}" for where, row in rows if not _is_pair(row)]
    if malformed:
        more = f" and {len(malformed) - SHOWN} more" if len(malformed) > SHOWN else ""
        raise ValueError(
            f"{path}: {'; '.join(malformed[:SHOWN])}{more}: each row needs two words, an input and an output"
        )
    if not rows:
        raise ValueError(f"{path} holds no word pairs")
    pairs = dict.fromkeys((a.strip(), b.strip()) for _, (a, b) in rows)
    return WordPairs(name=path.stem, pairs=tuple(pairs), source=path)


def _is_pair(row: Any) -> bool:
    return isinstance(row, tuple) and len(row) == 2 and all(isinstance(word, str) and word.strip() for word in row)


def _json_rows(path: Path) -> Iterator[Row]:
    content = read_json(path)
    if not isinstance(content, list):
        raise ValueError(f'{path} holds no list: give [{{"input": "dog", "output": "dogs"}}, …]')
    for number, entry in enumerate(content, start=1):
        whole = isinstance(entry, dict) and {"input", "output"} <= entry.keys()
        yield f"entry {number}", (entry["input"], entry["output"]) if whole else entry


def _table_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=SEPARATORS[path.suffix])
        try:
            for row in reader:
                if row and [name.strip().casefold() for name in row] != ["input", "output"]:
                    yield f"line {reader.line_num}", tuple(row)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path} is not UTF-8 text, or no table ({error}): save it as UTF-8") from error


WORDS_TOGETHER = 1024


def prefix_token(tokenizer: PreTrainedTokenizerBase, text: str | None = None) -> int:
    """The token that stands before a word, so that the word is not at position 0, an attention sink.

    By default the token that the tokenizer itself puts before every text, or a newline where it puts none.
    Raises `ValueError` for a text that is not one token.
    """
    before_all = tokenizer("")["input_ids"]
    if text is None and before_all:
        return int(before_all[0])
    text = "\n" if text is None else text
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise ValueError(f"the prefix {text!r} is {len(ids)} tokens of this tokenizer: give one that is a single token")
    return int(ids[0])


def word_rows(ids: Int[Tensor, " word"], prefix: int | None) -> Int[Tensor, "word position"]:
    """One row a word: the prefix, then the word; without a prefix the word at position 0."""
    words = ids[:, None]
    return words if prefix is None else cat([full_like(words, prefix), words], dim=1)


def word_states(
    model: TracedModel, rows: Int[Tensor, "word position"], layers: Sequence[int]
) -> list[Float[Tensor, "word d_model"]]:
    """Read the residual stream of each row's last token at the input of each of `layers`.

    Layer 0 gives the input embeddings.
    """
    last = zeros_like(rows).bool()
    last[:, -1] = True
    parts = zip(rows.split(WORDS_TOGETHER), last.split(WORDS_TOGETHER), strict=True)
    return list(cat([model.selected(part, ones_like(part), at, layers) for part, at in parts]).unbind(dim=1))
