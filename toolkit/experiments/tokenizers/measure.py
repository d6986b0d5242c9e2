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

from toolkit.experiments.tokenizers import TokenizerEvaluationConfig
from toolkit.harvest.documents import Corpus, open_corpus
from toolkit.harvest.tokens import describe_documents
from toolkit.models.files.identity import file_hashes
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.model.scoring import row_losses
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.open_model import open_model
from toolkit.tracking import track

TEXT_SEPARATOR = "<|endoftext|>"


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


def measure(settings: TokenizerEvaluationConfig, opened: None = None) -> TokenizerEvaluation:
    """Read the first documents with every model, one model in memory at a time.

    Every text follows one start token (the BOS, else `<|endoftext|>`, else the end-of-text token), which is not
    predicted; so all bytes are paid for. Raises `ValueError` for models or text that cannot be read, and for a text
    beyond a model's context.
    """
    own = [load_tokenizer(source) for source in settings.models]
    others = {source: load_tokenizer(source) for source in settings.tokenizers}
    corpus = open_corpus(settings.data, text_field=settings.text_field, mix=(0.5, 0.5), seed=settings.seed).read_whole()
    counts: Counter[str] = Counter()
    texts = _texts(settings, corpus, [*own, *others.values()], counts)
    whole = "".join(texts).encode()
    readings: list[Reading] = []
    inputs: dict[str, str] = {}
    asked = list(zip(settings.models, _labels(settings.models), own, strict=True))
    for source, label, tokenizer in track(asked, "reading texts", "models"):
        model = open_model(source, tokenizer, settings.where.of(label))
        inputs |= file_hashes(source, remote=settings.where.remote)
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
    settings: TokenizerEvaluationConfig,
    corpus: Corpus,
    tokenizers: Sequence[PreTrainedTokenizerBase],
    counts: Counter[str],
) -> list[str]:
    starts = {tokenizer.bos_token for tokenizer in tokenizers} - {None}
    texts = list(islice(_cut_texts(corpus, starts, settings.characters, counts), settings.documents))
    if len(texts) < 2:
        raise ValueError(f"{settings.data} holds {len(texts)} texts, {corpus.part}: an interval needs at least two")
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
