"""Turns what people give as input (texts, chat messages, ids, or what a tokenizer returned) into rows of ids.

A mask says which ids are padding. Ids in rows of one length, without a mask, may be padded too: a token that has no use
but padding is padding at either end of a row. Where the tokenizer pads with its BOS or EOS, one of these at the end of
every row is text; anything else raises `ValueError`, as it could be text or padding.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.arguments import as_index, plain
from toolkit.models.text.chat import turns_text
from toolkit.models.text.messages import read_messages
from toolkit.models.text.rows import padded
from toolkit.models.text.tokenizers import encode

Text = str | Iterable[Any]
"""One text or several: strings, chat messages, ids as lists, arrays or tensors, or what a tokenizer returned."""

Ids = Int[Tensor, "row position"] | Iterable[Any]
"""Ids of one text a row, padded to one length, what a tokenizer returned with its mask, or texts as `Text` has them."""

NOT_READ = ("inputs_embeds", "position_ids", "pixel_values", "input_features")
MESSAGES = ("role", "from", "messages")


def as_rows(
    tokenizer: PreTrainedTokenizerBase, text: object, attention_mask: object = None, *, answering: bool = False
) -> list[list[int]]:
    """Turn one text or several into one list of ids a text, without padding.

    A conversation is laid out by the chat template: whole, or for `answering` up to where the assistant writes.
    Raises `ValueError` for no text, for a text without tokens, and for anything but text and ids.
    """
    rows = _rows(tokenizer, text, attention_mask, answering)
    if not rows or not all(rows):
        raise ValueError("no text, or a text without tokens: give each text at least one token")
    return rows


def is_single(text: object) -> bool:
    """Whether `text` is one string or one conversation, not a list of texts."""
    if _has_fields(text):
        return "input_ids" not in text  # type: ignore[operator]
    return isinstance(text, str) or (isinstance(text, Sequence) and bool(text) and _kind(0, text[0]) == "a message")


def as_batch(
    tokenizer: PreTrainedTokenizerBase, input_ids: object, attention_mask: object = None, *, past: bool = False
) -> tuple[Int[Tensor, "row position"], Int[Tensor, "row past_and_position"]]:
    """Return ids of one text a row, padding included, and their mask; with `past` the mask also covers earlier ids.

    Strings and messages are tokenized, and padded on the right.
    Raises `ValueError` for rows of several lengths, for no ids, and for a mask of another shape.
    """
    input_ids, attention_mask = _unpacked(input_ids, attention_mask)
    if attention_mask is None and _is_text(input_ids):
        return padded(as_rows(tokenizer, input_ids))
    ids = _whole_numbers(input_ids, "input_ids")
    if attention_mask is None:
        return ids, torch.tensor(_own_mask(tokenizer, ids.tolist()), device=ids.device)
    return ids, as_mask(attention_mask, ids, past=past)


def as_mask(
    values: object, input_ids: Int[Tensor, "row position"], name: str = "attention_mask", *, past: bool = False
) -> Int[Tensor, "row past_and_position"]:
    """Return a mask of zeros and ones as a tensor; raises `ValueError` for other values or another shape."""
    mask = _whole_numbers(values, name)
    (rows, width), of_ids = mask.shape, tuple(input_ids.shape)
    if rows != of_ids[0] or width < of_ids[1] or (width > of_ids[1] and not past):
        raise ValueError(
            f"{name} of shape {tuple(mask.shape)} beside ids of shape {of_ids}: give one value for each id"
        )
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError(f"{name} holds {mask.unique().tolist()!r:.60}: give 1 for tokens and 0 for padding")
    return mask


def check_range(input_ids: Int[Tensor, "row position"], n_embeddings: int, whose: str = "the model has") -> None:
    """Raise `ValueError` for an id that has no embedding."""
    for token_id in (int(input_ids.min()), int(input_ids.max())):
        if not 0 <= token_id < n_embeddings:
            raise ValueError(
                f"token id {token_id} is out of range: {whose} {n_embeddings} embeddings. "
                "Tokenize with the pair's tokenizer."
            )


def check_context(tokens: int, context: int, what: str = "", remedy: str = "cut it shorter") -> None:
    """Raise `ValueError` for more tokens than the model's context; `what` names in the message what has them."""
    if tokens > context:
        what = what or f"a text of {tokens:,} tokens"
        raise ValueError(f"{what} exceeds the model's context of {context:,} tokens: {remedy}")


def _rows(tokenizer: PreTrainedTokenizerBase, text: object, mask: object, answering: bool) -> list[list[int]]:
    ids, mask = _unpacked(text, mask)
    if _has_fields(ids):
        return encode(tokenizer, [_laid_out(tokenizer, ids, answering)])
    items = plain(ids)
    if isinstance(items, bytes) or not isinstance(items, Iterable):
        raise ValueError(f"what is to be read, {_unlike(items)}")
    items = [items] if isinstance(items, str) else [plain(item) for item in items]
    kinds: dict[str, int] = {}
    for number, item in enumerate(items):
        kinds.setdefault(_kind(number, item), number)
    if len(kinds) > 1:
        (first, _), (other, number), *_ = kinds.items()
        raise ValueError(f"the first to be read is {first}, number {number} is {other}: give all of one kind")
    kind = next(iter(kinds), "")
    if mask is not None and kind not in ("an id", "a row of ids", ""):
        raise ValueError("attention_mask belongs to ids: give texts without one")
    if kind == "a string":
        return encode(tokenizer, items)
    if kind == "a message":
        return encode(tokenizer, [_laid_out(tokenizer, items, answering)])
    if kind == "a conversation":
        return encode(tokenizer, [_laid_out(tokenizer, item, answering) for item in items])
    if kind == "ids with their mask":
        return [row for item in items for row in _rows(tokenizer, item, None, answering)]
    return _unmasked(tokenizer, [items] if kind == "an id" else items, mask)


def _is_text(value: object) -> bool:
    """Whether it is a string, a message or a conversation, or a list of them."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, str) or (_has_fields(value) and "input_ids" not in value)  # type: ignore[operator]


def _unpacked(ids: object, mask: object) -> tuple[Any, Any]:
    """Return the ids and the mask of what a tokenizer returned; anything else is returned as it is."""
    if not _has_fields(ids) or "input_ids" not in ids:  # type: ignore[operator]
        return ids, mask
    fields: Any = ids
    if found := [name for name in NOT_READ if name in fields]:
        raise ValueError(f"{found[0]} beside input_ids is not read, and would change what is computed: leave it out")
    return fields["input_ids"], fields["attention_mask"] if mask is None and "attention_mask" in fields else mask


def _has_fields(value: object) -> bool:
    return hasattr(value, "keys") and not hasattr(value, "tolist")  # a table of pandas has, a series has both


def _kind(number: int, item: Any) -> str:
    """What an item is, in words; `item` holds no tensor or array itself."""
    if isinstance(item, str):
        return "a string"
    if isinstance(item, int) and not isinstance(item, bool):
        return "an id"
    if isinstance(item, Mapping):
        if "input_ids" in item:
            return "ids with their mask"
        if any(name in item for name in MESSAGES):
            return "a conversation" if "messages" in item else "a message"
    elif isinstance(item, Sequence) and not isinstance(item, bytes):
        return "a conversation" if item and isinstance(item[0], Mapping) else "a row of ids"
    raise ValueError(f"number {number} of what is to be read, {_unlike(item)}")


def _unlike(item: object) -> str:
    return (
        f"{item!r:.60} ({type(item).__name__}), is neither text nor ids: give strings, chat messages, lists or tensors"
        " of ids, or what a tokenizer returned"
    )


def _laid_out(tokenizer: PreTrainedTokenizerBase, messages: Any, answering: bool) -> str:
    """A conversation as text; raises `ValueError` where parts of it are none."""
    if _has_fields(messages) and not any(name in messages for name in MESSAGES):
        raise ValueError(
            f"fields {[*messages.keys()]!r:.60} are no message and hold no input_ids: give the one that holds the texts"
        )
    conversation = read_messages(messages)
    if conversation.parts_left_out:
        raise ValueError(
            f"{conversation.parts_left_out} parts of the messages are no text: give messages of text alone"
        )
    return turns_text(tokenizer, conversation.turns, answering=answering)


def _unmasked(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Any], mask: Any) -> list[list[int]]:
    """Rows of ids without those that the mask calls padding."""
    ids = [[each if type(each) is int else as_index(each, "token id") for each in row] for row in rows]
    kept = _own_mask(tokenizer, ids) if mask is None else [plain(row) for row in plain(mask)]
    if kept and not isinstance(kept[0], Sequence):  # of one row alone
        kept = [kept]
    if [*map(len, kept)] != [*map(len, ids)]:
        raise ValueError("attention_mask has another shape than the ids: give one value for each id")
    for number, row in enumerate(kept):
        marks = "".join({0: "0", 1: "1"}.get(each, "?") for each in row)
        if "?" in marks or "0" in marks.strip("0"):
            raise ValueError(
                f"attention_mask of row {number}, {row!r:.60}: give 1 for tokens and 0 for padding before or after them"
            )
    return [list(compress(row, keep)) for row, keep in zip(ids, kept, strict=True)]


def _own_mask(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[Any]:
    """The mask of rows that came without one."""
    pad = tokenizer.pad_token_id
    runs = [(_run(row, pad), _run(row[::-1], pad)) for row in rows]
    pads_only = pad not in (tokenizer.bos_token_id, tokenizer.eos_token_id)
    one_length, alike = len({*map(len, rows)}) == 1, len({*runs}) == 1
    if not one_length or (alike and max(runs[0]) == 0) or (alike and max(runs[0]) == 1 and not pads_only):
        return [[1] * len(row) for row in rows]
    if not pads_only:
        raise ValueError(
            f"rows of ids begin or end with {pad} ({tokenizer.pad_token!r}), text to this tokenizer and padding too:"
            " give attention_mask= with them, or all that the tokenizer returned"
        )
    of_rows = zip(rows, runs, strict=True)
    return [[int(before <= place < len(row) - after) for place in range(len(row))] for row, (before, after) in of_rows]


def _run(row: Sequence[int], token_id: int | None) -> int:
    """How many of that id a row begins with."""
    return next((place for place, each in enumerate(row) if each != token_id), len(row))


def _whole_numbers(values: object, name: str) -> Int[Tensor, "row position"]:
    """A tensor of one row a text; ones and zeros may be true and false."""
    try:
        found = values if isinstance(values, Tensor) else torch.tensor([plain(each) for each in plain(values)])
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} {values!r:.60}: give whole numbers in rows of one length, padded") from error
    found = found[None] if found.ndim == 1 else found
    if found.ndim != 2 or not found.numel() or found.is_floating_point() or found.is_complex():
        shape = f"{name} of shape {tuple(found.shape)} and type {found.dtype}"
        raise ValueError(f"{shape}: give whole numbers, one row a text, at least one each")
    return found.long()
