"""What a language model replied, and how a label or a list of answers is read from it."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from toolkit.annotation.labels import CATEGORIES, Label, Unscored
from toolkit.terminal_text import harmless

CUT_OFF = "the reply was cut off"
THOUGHT_ONLY = "thinking took all the tokens that a reply may have"
EMPTY = "the reply was empty"
REFUSED = "the reply was held back by the server"
NO_LABEL = "the reply holds no JSON object with an explanation and a category"
NO_CATEGORY = "the reply names no category that there is"
NO_LIST = "the reply holds no JSON array of 0 and 1"
OTHER_LENGTH = "the reply holds another number of answers"
ANOTHER_TRY_HELPS = (CUT_OFF, EMPTY, NO_LABEL, NO_CATEGORY, NO_LIST, OTHER_LENGTH)
"""Reasons that a second request with the reason in it may mend."""

_TRUE_OR_FALSE: dict[Any, bool] = {0: False, 1: True, "0": False, "1": True}  # True and False are equal to 1 and 0
_OBJECT, _FLAT_ARRAY = re.compile(r'\{(?=\s*")'), re.compile(r"\[[^\[\]{}]*\]")
_DECODER = json.JSONDecoder(strict=False)  # line breaks inside strings are forgiven


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A reply, as a server sent it."""

    content: str
    """The text; empty where all of it was thinking that the server sent apart."""
    ended: str
    """Why it ended, in the protocol's words: stop, length, content_filter, …"""
    thought: bool = False
    """Whether the server sent thinking apart from the text."""
    tokens_in: int | None = None
    """Tokens of the prompt, where the server counts them."""
    tokens_out: int | None = None
    """Tokens of the reply and its thinking."""


def read_completion(completion: Any) -> Reply | None:
    """Read a chat completion, of which servers leave out this and that; None where it holds no message, or
    one that a provider did not end."""
    try:
        choice = completion["choices"][0]
        if choice.get("finish_reason") == "error":  # OpenRouter's word for a provider that failed meanwhile
            return None
        message = choice["message"]
        content, thinking = message.get("content"), message.get("reasoning_content") or message.get("reasoning")
        usage = completion.get("usage") or {}
        return Reply(
            content=content if isinstance(content, str) else "",
            ended=str(choice.get("finish_reason")),
            thought=bool(thinking),
            tokens_in=usage.get("prompt_tokens"),
            tokens_out=usage.get("completion_tokens"),
        )
    except (TypeError, KeyError, IndexError, AttributeError):
        return None


def answer_of(reply: Reply) -> str | Unscored:
    """Return what stands after the thinking of a whole reply."""
    _, end_of_thinking, answer = reply.content.rpartition("</think>")
    answer = answer.strip()
    thinks_still = not end_of_thinking and answer.startswith("<think>")
    if reply.ended == "content_filter":
        return Unscored(reason=REFUSED)
    if thinks_still or (not answer and (reply.thought or end_of_thinking)):
        return Unscored(reason=THOUGHT_ONLY)
    if reply.ended == "length":
        return Unscored(reason=CUT_OFF)
    return answer or Unscored(reason=EMPTY)


def read_label(answer: str) -> Label | Unscored:
    """Read the last JSON object that has an explanation and a category, wherever it stands in the answer."""
    found = [each for each in _objects(answer) if {"explanation", "category"} <= each.keys()]
    written = found[-1]["explanation"] if found else None
    explanation = " ".join(harmless(written).split()) if isinstance(written, str) else ""
    if not explanation:
        return Unscored(reason=NO_LABEL)
    named = "-".join(str(found[-1]["category"]).casefold().replace("_", " ").split())
    category = next((each for each in CATEGORIES if each == named), None)
    if category is None:
        return Unscored(reason=NO_CATEGORY)
    return Label(category=category, explanation=explanation)


def read_answers(answer: str, n: int) -> list[bool] | Unscored:
    """Read the last JSON array of `n` items 0 or 1, wherever it stands in the answer."""
    found = [
        [_TRUE_OR_FALSE[item] for item in each]
        for each in _arrays(answer)
        if each and all(isinstance(item, int | str) and item in _TRUE_OR_FALSE for item in each)
    ]
    if not found:
        return Unscored(reason=NO_LIST)
    fitting = [each for each in found if len(each) == n]
    return fitting[-1] if fitting else Unscored(reason=OTHER_LENGTH)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a text that stand in no other."""
    end = 0
    for begins in _OBJECT.finditer(text):
        if begins.start() >= end:
            with suppress(json.JSONDecodeError, RecursionError):
                value, end = _DECODER.raw_decode(text, begins.start())
                yield value


def _arrays(text: str) -> Iterator[list[Any]]:
    """Yield the JSON arrays in a text that hold no other."""
    for found in _FLAT_ARRAY.findall(text):
        with suppress(json.JSONDecodeError):
            yield _DECODER.decode(found)
