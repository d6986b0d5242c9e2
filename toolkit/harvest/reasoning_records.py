"""Reads records of reasoning data sets, which have different fields: the question, and every reply, verbatim.

The known fields are OpenR1-Math's (`problem`, `generations`, `is_reasoning_complete`), OpenThoughts' (`system`,
`conversations`), chat `messages`, and a reply alone (`response`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.harvest.choices import Part
from toolkit.models.text.messages import Conversation, Turn, UnusableError, read_messages, with_reasoning

MARKERS = (("<think>", "</think>"), ("<|begin_of_thought|>", "<|end_of_thought|>"))
ANSWER_MARKERS = ("<|begin_of_solution|>", "<|end_of_solution|>")
MESSAGES = ("conversations", "messages", "conversation")
"""Fields that hold messages."""
KNOWN = "problem with generations, conversations, messages, or response"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A model's reply, and whether it is complete."""

    text: str
    complete: bool


@dataclass(frozen=True, kw_only=True)
class ReasoningRecord:
    """The turns before the reply, and the replies to them; there are no turns where only replies are known."""

    turns: tuple[Turn, ...]
    replies: tuple[Reply, ...]
    parts_left_out: int = 0
    """Number of parts of the messages that are not text."""


def read_record(record: Mapping[str, Any]) -> ReasoningRecord:
    """Read one record according to its fields.

    A reply is complete if the record says so. Where the record does not say, a reply is complete if its reasoning is
    closed and an answer follows, or if it has no reasoning. Raises `UnusableError` for a record without replies.
    """
    if record.get("generations") and isinstance(record.get("problem"), str):
        return _open_r1(record)
    if field := next((name for name in MESSAGES if record.get(name) is not None), None):
        return _conversation(read_messages(record[field]), record.get("system"))
    if isinstance(record.get("response"), str) and record["response"]:
        return ReasoningRecord(turns=(), replies=(_reply(with_reasoning(record, record["response"])),))
    raise UnusableError("no text", f"it has the fields {sorted(record)}, but text in none of the known ones: {KNOWN}")


def split_reply(text: str) -> tuple[str, str]:
    """Split a reply after the mark that ends its reasoning; the two parts joined are the reply.

    A reply without that mark is all reasoning if it has the mark that opens reasoning, else all answer.
    """
    for opening, closing in MARKERS:
        before, mark, answer = text.partition(closing)
        if mark:
            return before + mark, answer
        if text.lstrip().startswith(opening):
            return text, ""
    return "", text


def part_of(text: str, part: Part) -> str:
    """Return the whole reply or one part of it, verbatim; empty if the reply has no such part."""
    reasoning, answer = split_reply(text)
    chosen = {"both": text, "reasoning": reasoning, "answer": answer}[part]
    return chosen if chosen.strip() else ""


def without_markers(text: str) -> str:
    """Return the text without the marks around reasoning and answer."""
    for marker in (*(mark for pair in MARKERS for mark in pair), *ANSWER_MARKERS):
        text = text.replace(marker, "")
    return text


def _open_r1(record: Mapping[str, Any]) -> ReasoningRecord:
    texts: Sequence[str] = record["generations"]
    flags: Sequence[bool] | None = record.get("is_reasoning_complete")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UnusableError("not text", "its generations are not a list of strings")
    if flags is None:
        replies = tuple(_reply(text) for text in texts)
    elif len(flags) == len(texts):
        replies = tuple(Reply(text=text, complete=bool(flag)) for text, flag in zip(texts, flags, strict=True))
    else:
        raise UnusableError(
            "malformed",
            f"it has {len(texts)} generations and {len(flags)} values of is_reasoning_complete: give one for each",
        )
    return ReasoningRecord(turns=(("user", record["problem"]),), replies=replies)


def _conversation(found: Conversation, system: Any) -> ReasoningRecord:
    role, text = found.turns[-1]
    if role != "assistant":
        raise UnusableError(
            "no text", f"a conversation ends with a turn of {role!r}: the last turn must be the assistant's reply"
        )
    opening = (("system", system),) if isinstance(system, str) and system else ()
    replies = (_reply(text),) if text else ()
    return ReasoningRecord(turns=(*opening, *found.turns[:-1]), replies=replies, parts_left_out=found.parts_left_out)


def _reply(text: str) -> Reply:
    return Reply(text=text, complete=bool(part_of(text, "answer")))
