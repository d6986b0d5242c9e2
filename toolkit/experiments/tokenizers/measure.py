"""How many bits a byte do models need for the same texts, each with its own tokenizer or with another's?"""

import math
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.harvest.choices import EMBEDDED
from toolkit.harvest.documents import Corpus, open_corpus
from toolkit.harvest.tokens import describe_documents
from toolkit.models.files.identity import file_hashes
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.model.scoring import row_losses
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.presets import CHECKOUT
from toolkit.outputs import OutputFolder, findings_claim
from toolkit.ranges import Seed
from toolkit.reports.data_figures import estimates_by_name
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table
from toolkit.settings.models import ModelAccess
from toolkit.statistics import Estimate, around, ratio_of_sums
from toolkit.tracking import track

TRIO = tuple(str(CHECKOUT / "artifacts" / "organism" / name) for name in ("base", "distilled", "control"))
TEXT_SEPARATOR = "<|endoftext|>"


@dataclass(frozen=True, kw_only=True)
class TokenizerEvaluationConfig(ModelAccess):
    """Bits per UTF-8 byte that models need for the same texts, comparable whatever their tokenizers."""

    models: tuple[str, ...] = TRIO
    """Local folders or hub names; the others are compared with the first. Default: the embedded three."""
    tokenizers: tuple[str, ...] = ()
    """Read every model with these tokenizers too: local folders or hub names."""
    out: Path = Path("runs/tokenizer_evaluation")
    """Folder for the page, its figures and the JSON of results."""
    data: str = EMBEDDED
    """organism, of which held-out documents are read, reasoning+general, a hub dataset, or local files."""
    text_field: str = "text"
    """Field of a record that holds its text; without it, its messages are read."""
    documents: int = 200
    """Documents that are read."""
    characters: int = 1000
    """Characters after which a document is cut, the same for every tokenizer."""
    seed: Seed = 0
    """Seed of the data's order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.models:
            raise ValueError("--models names none: give at least one")
        for name, least in (("documents", 2), ("characters", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} {getattr(self, name)}: must be at least {least}")

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return [OutputFolder(self.out, (findings_claim("tokenizer_evaluation"),))]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One model's reading of all texts with one tokenizer."""

    name: str
    bits: Float[Tensor, " document"]
    tokens: Float[Tensor, " document"]
    added: int
    """Tokens of the texts that were added to the vocabulary, such as <think>: cheap where a model knows them."""
    unknown: int
    """Tokens that stand for text the tokenizer does not know: then its bits buy less than the text."""


@dataclass(frozen=True, kw_only=True)
class TokenizerEvaluation:
    """All readings of the same texts."""

    readings: list[Reading]
    n_bytes: Float[Tensor, " document"]
    zlib_bits: float
    """Bits per byte of all the texts together under zlib: what repetition alone gives away."""
    inputs: dict[str, str]
    """Fingerprints of the models."""
    origin: dict[str, Any]
    """What is known of the text."""
    text: str
    """Which part of it was read, and what became of its documents."""


def measure_tokenizer_evaluation(config: TokenizerEvaluationConfig) -> TokenizerEvaluation:
    """Read the first documents with every model, one model in memory at a time.

    Every text follows one start token (the BOS, else `<|endoftext|>`, else the end-of-text token), which is not
    predicted; so all bytes are paid for. Raises `ValueError` for models or text that cannot be read, and for a text
    beyond a model's context.
    """
    own = [load_tokenizer(source) for source in config.models]
    others = {source: load_tokenizer(source) for source in config.tokenizers}
    corpus = open_corpus(config.data, text_field=config.text_field, mix=(0.5, 0.5), seed=config.seed).read_whole()
    counts: Counter[str] = Counter()
    texts = _texts(config, corpus, [*own, *others.values()], counts)
    whole = "".join(texts).encode()
    readings: list[Reading] = []
    inputs: dict[str, str] = {}
    asked = list(zip(config.models, _labels(config.models), own, strict=True))
    for source, label, tokenizer in track(asked, "reading texts", "models"):
        model = config.open_model(source, tokenizer)
        inputs |= file_hashes(source, remote=config.remote)
        with_others = [(f"{label}, tokenizer of {Path(other).name}", each) for other, each in others.items()]
        for name, each in track([(label, tokenizer), *with_others], "tokenizers", "tokenizers"):
            readings.append(_read(name, model, each, texts))
    return TokenizerEvaluation(
        readings=readings,
        n_bytes=torch.tensor([float(len(text.encode())) for text in texts]),
        zlib_bits=8 * len(zlib.compress(whole, 9)) / len(whole),
        inputs=inputs,
        origin=corpus.origin,
        text=f"{corpus.part}: {describe_documents(counts)}",
    )


def _texts(
    config: TokenizerEvaluationConfig,
    corpus: Corpus,
    tokenizers: Sequence[PreTrainedTokenizerBase],
    counts: Counter[str],
) -> list[str]:
    starts = {tokenizer.bos_token for tokenizer in tokenizers} - {None}
    texts = list(islice(_cut_texts(corpus, starts, config.characters, counts), config.documents))
    if len(texts) < 2:
        raise ValueError(f"{config.data} holds {len(texts)} texts, {corpus.part}: an interval needs at least two")
    return texts


def _cut_texts(corpus: Corpus, starts: set[str], characters: int, counts: Counter[str]) -> Iterator[str]:
    for record in corpus.held_out:
        text: str = record["text"]
        for start in starts:
            text = text.removeprefix(start)
        cut = "cut" if len(text) > characters else "whole"
        counts[record.get("left_out") or (cut if text else "no text")] += 1
        if text:
            yield text[:characters]


def _labels(sources: Sequence[str]) -> list[str]:
    names = [Path(source).name for source in sources]
    return names if len(set(names)) == len(names) else list(sources)


def _read(name: str, model: TracedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Reading:
    start = _start_id(tokenizer)
    rows: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    try:
        nats = row_losses(model, [[start, *row] for row in rows])
    except ValueError as error:
        raise ValueError(f"{name}: {error}; --characters cuts texts, --tokenizers must fit every model") from error
    added = tokenizer.added_tokens_decoder.keys() - {tokenizer.unk_token_id}
    return Reading(
        name=name,
        bits=nats / math.log(2),
        tokens=torch.tensor([float(len(row)) for row in rows]),
        added=sum(token_id in added for row in rows for token_id in row),
        unknown=sum(token_id == tokenizer.unk_token_id for row in rows for token_id in row),
    )


def _start_id(tokenizer: PreTrainedTokenizerBase) -> int:
    vocabulary = tokenizer.get_vocab()
    for token in (tokenizer.bos_token, TEXT_SEPARATOR, tokenizer.eos_token):
        if token in vocabulary:
            return int(vocabulary[token])
    raise ValueError(
        f"the tokenizer {tokenizer.name_or_path!r} has neither a BOS nor an end-of-text token to begin with"
    )


def tokenizer_findings(config: TokenizerEvaluationConfig, found: TokenizerEvaluation) -> Findings:
    """Bits per byte of every reading, and how far each is from the first on the same texts."""
    first = found.readings[0]
    estimates = {reading.name: _ratio(reading.bits, found.n_bytes) for reading in found.readings}
    n_bytes, documents = int(found.n_bytes.sum()), len(found.n_bytes)
    return Findings(
        name="tokenizer_evaluation",
        title="Bits per byte",
        question="How well do the models predict the same texts, whatever their tokenizers?",
        facts={
            "models": ", ".join(source.removeprefix(f"{CHECKOUT}/") for source in config.models),
            "text": f"{config.data}, {found.text}; {documents:,} documents of at most {config.characters:,} characters",
            "yardstick": f"zlib, all texts together: {found.zlib_bits:.3g} bits a byte",
        },
        headline=[
            Headline(name=f"bits a byte, {name}", value=estimate, n=n_bytes, unit="UTF-8 bytes")
            for name, estimate in estimates.items()
        ],
        tables=_tables(found, first),
        charts=[
            Chart(
                name="bits_per_byte",
                figure=estimates_by_name(
                    estimates, f"Bits per byte (n = {documents:,} documents)", "bits per UTF-8 byte"
                ),
                caption="Bits for all texts over their bytes; 95 % intervals over documents.",
            )
        ],
        results={
            "documents": documents,
            "bytes": n_bytes,
            "zlib_bits_per_byte": found.zlib_bits,
            "readings": [_results(reading, first, found.n_bytes) for reading in found.readings],
        },
    )


def _tables(found: TokenizerEvaluation, first: Reading) -> list[Table]:
    n = f"n = {int(found.n_bytes.sum()):,} bytes of {len(found.n_bytes):,} documents, 95 % intervals over documents"
    bits: list[list[Cell]] = [
        [
            reading.name,
            _ratio(reading.bits, found.n_bytes),
            None if reading is first else _ratio(reading.bits - first.bits, found.n_bytes),
        ]
        for reading in found.readings
    ]
    tokens: list[list[Cell]] = [
        [
            reading.name,
            _ratio(reading.bits * math.log(2), reading.tokens),
            float(found.n_bytes.sum() / reading.tokens.sum()),
            reading.added,
            reading.unknown,
        ]
        for reading in found.readings
    ]
    return [
        Table(
            title="bits a byte",
            columns=("", "on these texts", f"less {first.name}'s"),
            rows=bits,
            note=f"{n}; differences are taken document by document.",
        ),
        Table(
            title="loss a token",
            columns=("", "nats a token", "bytes a token", "added", "unknown"),
            rows=tokens,
            note="Compares models of one tokenizer only. added, unknown: such tokens in the texts.",
        ),
    ]


def _ratio(sums: Float[Tensor, " document"], sizes: Float[Tensor, " document"]) -> Estimate:
    (ratio,) = around(*ratio_of_sums(sums[:, None], sizes))
    return ratio


def _results(reading: Reading, first: Reading, n_bytes: Float[Tensor, " document"]) -> dict[str, object]:
    return {
        "name": reading.name,
        "bits_per_byte": _ratio(reading.bits, n_bytes),
        "bits_per_byte_less_first": _ratio(reading.bits - first.bits, n_bytes),
        "nats_per_token": _ratio(reading.bits * math.log(2), reading.tokens),
        "tokens": int(reading.tokens.sum()),
        "added_tokens": reading.added,
        "unknown_tokens": reading.unknown,
    }
