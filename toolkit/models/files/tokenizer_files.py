"""Loads tokenizers from the files of models, in all layouts in which they come."""

import warnings
from collections.abc import Sequence

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from toolkit.library_warnings import ToolkitWarning
from toolkit.models.files.model_files import MAIN, Hub, explaining, find_file, quietly

_VOCABULARIES = ("vocab.json", "tokenizer.model", "spiece.model", "vocab.txt", "tekken.json", "tiktoken.model")
"""Files that hold a vocabulary where there is no tokenizer.json."""


def load_tokenizer(source: str, hub: Hub = MAIN) -> PreTrainedTokenizerBase:
    """Load the tokenizer at `source`; raises `ValueError` where it is missing or cannot be read."""
    if (found := _find_tokenizer(source, hub)) is None:
        with explaining(source, "tokenizer"):  # a hub that cannot be reached has no files either
            AutoConfig.from_pretrained(source, **hub.options())
        raise ValueError(
            f"the model in {source!r} has no tokenizer.json, nor any of"
            f" {', '.join(_VOCABULARIES)}. Copy its tokenizer's files there"
        )
    return found


def load_tokenizers(sources: Sequence[str], hubs: Sequence[Hub]) -> list[PreTrainedTokenizerBase]:
    """Load the tokenizers of several models; a model without one gets another model's, with a warning.

    Raises `ValueError` where no model has a tokenizer, and as `load_tokenizer` does.
    """
    found = [_find_tokenizer(source, hub) for source, hub in zip(sources, hubs, strict=True)]
    lacking = [source for source, tokenizer in zip(sources, found, strict=True) if tokenizer is None]
    there = [tokenizer for tokenizer in found if tokenizer is not None]
    if not there:
        return [load_tokenizer(source, hub) for source, hub in zip(sources, hubs, strict=True)]  # says what is missing
    if lacking:
        said = f"{lacking[0]!r} holds no tokenizer: another model's is used for it too"
        warnings.warn(said, ToolkitWarning, stacklevel=3)
    return [tokenizer or there[0] for tokenizer in found]


def _find_tokenizer(source: str, hub: Hub) -> PreTrainedTokenizerBase | None:
    with explaining(source, "tokenizer"), quietly():
        find_file(source, "tokenizer_config.json", hub)  # only to say what is wrong with it
        if find_file(source, "tokenizer.json", hub) is not None:
            # Not AutoTokenizer: for any Qwen2 model transformers 5 puts Qwen's own splitting rules in place of
            # those in tokenizer.json, and where there is no tokenizer it makes an empty one.
            tokenizer = PreTrainedTokenizerFast.from_pretrained(source, **hub.options())
        elif (vocabulary := next((n for n in _VOCABULARIES if find_file(source, n, hub) is not None), None)) is None:
            return None
        else:
            tokenizer = _converted(source, vocabulary, hub)
        if not len(tokenizer):
            raise ValueError("its vocabulary is empty: copy or download its files again")
    return tokenizer


def _converted(source: str, vocabulary: str, hub: Hub) -> PreTrainedTokenizerBase:
    """Return the tokenizer that transformers converts a vocabulary to; a `ValueError` names packages it may need."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **hub.options())
    except (ImportError, ValueError) as error:
        if vocabulary.endswith((".json", ".txt")):
            raise
        raise ValueError(
            f"{error} Where packages to read {vocabulary} are missing: `pip install sentencepiece protobuf tiktoken`"
        ) from error
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} has no fast form, which keeps track of places in the text")
    return tokenizer
