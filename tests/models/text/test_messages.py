import json
from typing import Any

import pytest

from toolkit.models.text.messages import UnusableError, read_messages

ASKED, SAID = {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}
TURNS = (("user", "2+2?"), ("assistant", "4"))


def said(content: Any = None, **others: Any) -> str:
    """The text of one assistant's message."""
    ((_, text),) = read_messages([{"role": "assistant", "content": content} | others]).turns
    return text


@pytest.mark.parametrize(
    "messages",
    [
        [ASKED, SAID],
        (ASKED, SAID),
        [[ASKED, SAID]],
        {"messages": [ASKED, SAID]},
        json.dumps([ASKED, SAID]),
        [json.dumps([ASKED, SAID])],
        [json.dumps(ASKED), json.dumps(SAID)],
        [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}],
        [{"role": "Prompter", "text": "2+2?"}, {"role": "model", "text": "4"}],
        [{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}, SAID | {"content": ["4"]}],
        [{"role": "user", "content": {"content_type": "text", "parts": ["2+2?"]}}, SAID],
        [ASKED | {"value": None, "reasoning_content": None, "tool_calls": None}, SAID | {"thinking": ""}],
    ],
)
def test_the_same_turns_in_every_layout(messages):
    assert read_messages(messages).turns == TURNS


def test_a_single_message_is_a_conversation():
    assert read_messages(ASKED).turns == (("user", "2+2?"),)


def test_parts_are_joined_by_line_breaks_and_what_is_no_text_is_counted():
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}, "text": None}
    found = read_messages(
        [{"role": "user", "content": ["What", image, {"type": "input_text", "text": "is it?"}]}, SAID]
    )
    assert found.turns == (("user", "What\nis it?"), ("assistant", "4"))
    assert found.parts_left_out == 1


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_beside_the_content_goes_before_it_verbatim(name):
    assert said("4", **{name: " two\n and two"}) == "<think>\n two\n and two\n</think>\n\n4"


def test_reasoning_as_parts():
    assert (
        said([{"type": "thinking", "thinking": "two"}, {"type": "text", "text": "4"}]) == "<think>\ntwo\n</think>\n\n4"
    )
    assert said("4", reasoning_details=[{"type": "reasoning.text", "text": "two"}]) == "<think>\ntwo\n</think>\n\n4"


def test_reasoning_that_the_content_holds_already_is_not_doubled():
    assert said("<think>\ntwo\n</think>\n\n4", reasoning_content="two") == "<think>\ntwo\n</think>\n\n4"
    assert said("4", reasoning="<think>two</think>") == "<think>two</think>\n\n4"


CALL = '<tool_call>\n{"name": "add", "arguments": {"a": "ä"}}\n</tool_call>'


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": "ä"}'}}]},
        {"tool_calls": [{"name": "add", "arguments": {"a": "ä"}}]},
        {"function_call": {"name": "add", "arguments": {"a": "ä"}}},
        {"content": [{"type": "tool_use", "id": "1", "name": "add", "input": {"a": "ä"}}]},
    ],
)
def test_calls_of_tools_are_json(fields):
    assert said(**({"content": None} | fields)) == CALL


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("4 °C", "4 °C"),
        ([{"type": "text", "text": {"value": "4 °C", "annotations": []}}], "4 °C"),
        ({"temperature": 4}, '{"temperature": 4}'),
        (4, "4"),
        ([{"type": "tool_result", "content": [{"type": "text", "text": "4 °C"}]}], "4 °C"),
    ],
)
def test_results_of_tools(content, text):
    assert read_messages([ASKED, {"role": "function", "content": content}]).turns[1] == ("tool", text)


def test_a_message_without_content_is_a_turn_without_text():
    assert read_messages([{"role": "assistant", "content": None}, {"role": "tool"}, ASKED]).turns == (
        ("assistant", ""), ("tool", ""), ("user", "2+2?")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("messages", "why", "message"),
    [
        ([], "no text", "the list of messages is empty"),
        ("[]", "no text", "the list of messages is empty"),
        ([[]], "no text", "the list of messages is empty"),
        (None, "no text", "the list of messages is empty"),
        ([{"role": "user", "content": ""}, {"role": "assistant"}], "no text", "no message has any text"),
        ([{"role": "user", "content": [{"type": "image"}]}], "no text", "but 1 parts such as images"),
        ("hello", "not text", "messages are a string, not a list"),
        (3, "not text", "messages are a number"),
        (b"[]", "not text", "messages are bytes"),
        (["hello"], "not text", "a message is a string, not an object with role and content"),
        ([[ASKED], [SAID]], "not text", "a message is a list"),
        ([{"role": "user", "content": 3}], "not text", "content is a number"),
        ([{"role": "user", "content": b"a"}], "not text", "content is bytes"),
        ([{"role": "user", "content": [3]}], "not text", "a part of the content is a number"),
    ],
)
def test_what_is_no_conversation_says_why(messages, why, message):
    with pytest.raises(UnusableError, match=message) as error:
        read_messages(messages)
    assert error.value.why == why
