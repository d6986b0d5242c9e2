"""What a model makes of single words: its residual stream at several sites, each word read by itself."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor, cat, full_like, ones_like, zeros_like
from transformers import PreTrainedTokenizerBase

from toolkit.models.model.traced_model import TracedModel

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
