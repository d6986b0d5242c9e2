"""Records of reasoning data sets, whatever their fields: what was asked, and every reply, verbatim.

Known are OpenR1-Math's fields (`problem`, `generations`, `is_reasoning_complete`), OpenThoughts' (`system`,
`conversations`), chat `messages`, and a reply alone (`response`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Part = Literal["both", "reasoning", "answer"]
MARKERS = (("<think>", "</think>"), ("<|begin_of_thought|>", "<|end_of_thought|>"))
ANSWER_MARKERS = ("<|begin_of_solution|>", "<|end_of_solution|>")
ROLES = {"human": "user", "gpt": "assistant"}
KNOWN = "problem with generations, conversations, messages, or response"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the model said, and whether it came to its end."""

    text: str
    complete: bool


@dataclass(frozen=True, kw_only=True)
class ReasoningRecord:
    """Turns before the reply, as (role, content), and the replies to them; no turns where only replies are known."""

    turns: tuple[tuple[str, str], ...]
    replies: tuple[Reply, ...]


def read_record(record: Mapping[str, Any]) -> ReasoningRecord:
    """Read one record by the fields that it has.

    A reply is complete if the record says so; where it says nothing, if the reasoning is closed and an answer follows,
    or if there is no reasoning at all. Raises `ValueError` for fields that are not known.
    """
    if record.get("generations") and isinstance(record.get("problem"), str):
        return _open_r1(record)
    for name, role, content in (("conversations", "from", "value"), ("messages", "role", "content")):
        if record.get(name):
            turns = [(str(turn[role]), str(turn[content] or "")) for turn in record[name]]
            return _conversation(turns, record.get("system"))
    if isinstance(record.get("response"), str):
        return ReasoningRecord(turns=(), replies=(_reply(record["response"]),))
    raise ValueError(f"a record has the fields {sorted(record)}, and none of those that are known: {KNOWN}")


def split_reply(text: str) -> tuple[str, str]:
    """Split a reply behind the mark that ends its reasoning; the two parts joined are the reply.

    Without such a mark all of it is reasoning if it opens some, else all of it is answer.
    """
    for opening, closing in MARKERS:
        before, mark, answer = text.partition(closing)
        if mark:
            return before + mark, answer
        if text.lstrip().startswith(opening):
            return text, ""
    return "", text


def part_of(text: str, part: Part) -> str:
    """The whole reply or one part of it, verbatim; empty if the reply has no such part."""
    reasoning, answer = split_reply(text)
    chosen = {"both": text, "reasoning": reasoning, "answer": answer}[part]
    return chosen if chosen.strip() else ""


def without_markers(text: str) -> str:
    """The text less the marks around reasoning and answer; all else stays."""
    for marker in (*(mark for pair in MARKERS for mark in pair), *ANSWER_MARKERS):
        text = text.replace(marker, "")
    return text


def _open_r1(record: Mapping[str, Any]) -> ReasoningRecord:
    texts: Sequence[str] = record["generations"]
    flags: Sequence[bool] | None = record.get("is_reasoning_complete")
    if flags is None:
        replies = tuple(_reply(text) for text in texts)
    elif len(flags) == len(texts):
        replies = tuple(Reply(text=text, complete=flag) for text, flag in zip(texts, flags, strict=True))
    else:
        raise ValueError(
            f"a record has {len(texts)} generations and {len(flags)} values of is_reasoning_complete: give one for each"
        )
    return ReasoningRecord(turns=(("user", record["problem"]),), replies=replies)


def _conversation(turns: Sequence[tuple[str, str]], system: str | None) -> ReasoningRecord:
    turns = [(ROLES.get(role, role), content) for role, content in turns]
    role, text = turns[-1]
    if role != "assistant":
        raise ValueError(f"a conversation ends with a turn of {role!r}: the last turn must be the assistant's reply")
    opening = [("system", system)] if system else []
    return ReasoningRecord(turns=(*opening, *turns[:-1]), replies=(_reply(text),))


def _reply(text: str) -> Reply:
    return Reply(text=text, complete=bool(part_of(text, "answer")))
