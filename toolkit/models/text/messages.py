"""Reads chat messages, in the forms that data sets use, into turns of text.

A message names its speaker by `role` or `from`, and its text by `content`, `value` or `text`: a string or parts.
Reasoning in a field of its own is put before the content, between `<think>` marks; calls of tools follow the content,
as JSON in `<tool_call>`. No value is written as Python would print it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.models.text.chat import CLOSING, OPENING

ROLES = {
    "user": ("human", "prompter", "question", "instruction"),
    "assistant": ("gpt", "ai", "bot", "model", "chatbot", "chatgpt", "answer", "response"),
    "tool": ("function", "observation", "function_response", "tool_response", "tool_result", "ipython"),
}
CANONICAL = {name: role for role, names in ROLES.items() for name in (role, *names)}
SPEAKER, CONTENT = ("role", "from"), ("content", "value", "text")
REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
PART_TEXT = ("text", "thinking", "reasoning", "refusal", "content")

Turn = tuple[str, str]
"""Role and text; the role is user, assistant, system or tool, or as it was given; empty where none was."""


class UnusableError(ValueError):
    """A record without usable text; records are counted by the reason in `why`.

    The reasons are: malformed (not JSON, not UTF-8), no text (the field is empty), not text (it holds another value).
    """

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Turns of text, and how many parts of the messages were left out, such as images, audio and files."""

    turns: tuple[Turn, ...]
    parts_left_out: int


def read_messages(messages: Any) -> Conversation:
    """Read a list of messages, a single message, either as a JSON string, or a list that holds one such list.

    A message without content is a turn without text. Several parts are joined by line breaks.
    Raises `UnusableError` for anything else, and where no message has any text.
    """
    found = [_read_message(message) for message in _listed(messages)]
    turns = tuple(turn for turn, _ in found)
    left_out = sum(n for _, n in found)
    if not any(text.strip() for _, text in turns):
        only = f", but {left_out} parts such as images" if left_out else ""
        raise UnusableError("no text", f"no message has any text{only}")
    return Conversation(turns=turns, parts_left_out=left_out)


def read_content(content: Any) -> tuple[str, int]:
    """Return the text of a message's content, and how many of its parts are not text.

    Raises `UnusableError` for anything but a string and a list of parts.
    """
    texts: list[str] = []
    left_out = 0
    for part in _parts(content):
        text = _part_text(part)
        if text is None:
            left_out += 1
        elif text:
            texts.append(text)
    return "\n".join(texts), left_out


def with_reasoning(fields: Mapping[str, Any], text: str) -> str:
    """Return the text after the reasoning in `fields`, if any, which stands verbatim between `<think>` marks."""
    for name in REASONING:
        reasoning = "" if fields.get(name) is None else read_content(fields[name])[0]
        if reasoning.strip() and reasoning.strip() not in text:
            closed = reasoning if CLOSING in reasoning else f"{OPENING}\n{reasoning}\n{CLOSING}"
            return f"{closed}\n\n{text}"
    return text


def _listed(messages: Any) -> Sequence[Mapping[str, Any]]:
    messages = _decoded(messages)
    if isinstance(messages, Mapping):
        messages = messages["messages"] if isinstance(messages.get("messages"), list) else [messages]
    if isinstance(messages, Sequence) and len(messages) == 1 and isinstance(_decoded(messages[0]), list):
        messages = _decoded(messages[0])
    if messages is None or (isinstance(messages, Sequence) and not len(messages)):
        raise UnusableError("no text", "the list of messages is empty")
    if isinstance(messages, str | bytes) or not isinstance(messages, Sequence):
        raise UnusableError("not text", f"messages are {kind_of_value(messages)}, not a list")
    listed = [_decoded(message) for message in messages]
    if odd := next((message for message in listed if not isinstance(message, Mapping)), None):
        raise UnusableError("not text", f"a message is {kind_of_value(odd)}, not an object with role and content")
    return listed


def _decoded(value: Any) -> Any:
    """Return the list or object that a string holds as JSON; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _read_message(message: Mapping[str, Any]) -> tuple[Turn, int]:
    speaker = next((message[name] for name in SPEAKER if message.get(name) is not None), "")
    role = CANONICAL.get(str(speaker).strip().lower(), str(speaker).strip())
    content = next((message[name] for name in CONTENT if message.get(name) is not None), None)
    if role == "tool" and not isinstance(content, str | list | bytes | None):
        content = _json(content)  # what a tool gave may be any value
    text, left_out = read_content(content)
    calls = [_call(call) for call in _calls(message)]
    return (role, "\n".join([*([text] if (text := with_reasoning(message, text)) else []), *calls])), left_out


def _parts(content: Any) -> Iterator[Any]:
    if content is None:
        return
    if isinstance(content, Mapping) and isinstance(content.get("parts"), list):
        content = content["parts"]
    if isinstance(content, str | Mapping):
        yield content
    elif isinstance(content, Sequence) and not isinstance(content, bytes):
        yield from content
    else:
        raise UnusableError("not text", f"content is {kind_of_value(content)}, neither a string nor a list of parts")


def _part_text(part: Any) -> str | None:
    """Return the text of one part, which may be empty; None for a part that is not text."""
    if part is None or isinstance(part, str):
        return part or ""
    if not isinstance(part, Mapping):
        raise UnusableError(
            "not text", f"a part of the content is {kind_of_value(part)}, neither a string nor an object"
        )
    if part.get("type") in ("tool_use", "tool_call"):
        return _call(part)
    for name in PART_TEXT:
        value = part.get(name)
        if isinstance(value, Mapping):
            value = value.get("value")
        if isinstance(value, str):
            marked = name in ("thinking", "reasoning") and value
            return f"{OPENING}\n{value}\n{CLOSING}\n" if marked else value
        if isinstance(value, list):
            return read_content(value)[0]
    return None


def _calls(message: Mapping[str, Any]) -> Sequence[Any]:
    calls = _decoded(message.get("tool_calls")) or _decoded(message.get("function_call")) or []
    return calls if isinstance(calls, list) else [calls]


def _call(call: Any) -> str:
    """Return one call of a tool, of any interface, as models of Qwen's family write it."""
    if not isinstance(call, Mapping):
        return f"<tool_call>\n{call if isinstance(call, str) else _json(call)}\n</tool_call>"
    function = call["function"] if isinstance(call.get("function"), Mapping) else call
    arguments: Any = next(
        (function[name] for name in ("arguments", "input", "args") if function.get(name) is not None), {}
    )
    return f"<tool_call>\n{_json({'name': function.get('name'), 'arguments': _decoded(arguments)})}\n</tool_call>"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def kind_of_value(value: Any) -> str:
    """Return the kind of a value in words."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bytes: "bytes",
        bool: "true or false",
        type(None): "null",
    }
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
