import json
import os
from pathlib import Path

import pytest

from toolkit.harvest.reasoning_records import Reply, part_of, read_record, split_reply, without_markers

THOUGHT = "<think>\nOkay. Wait </think>\n\nIt is **4**.\n"
OPEN_THOUGHT = (
    "<|begin_of_thought|>\n\nOkay.\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n4\n\n<|end_of_solution|>"
)
CUT_OFF = "<think>\nOkay. Wait"


def test_open_r1_records_keep_every_generation_and_whether_it_is_complete():
    record = {
        "problem": "2+2?",
        "solution": "four",
        "generations": [CUT_OFF, THOUGHT],
        "is_reasoning_complete": [False, True],
        "messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "other"}],
    }
    found = read_record(record)
    assert found.turns == (("user", "2+2?"),)
    assert found.replies == (Reply(text=CUT_OFF, complete=False), Reply(text=THOUGHT, complete=True))


def test_without_flags_completeness_is_read_off_the_reply():
    found = read_record({"problem": "2+2?", "generations": [CUT_OFF, THOUGHT, "<think>a</think> \n", "plain"]})
    assert [reply.complete for reply in found.replies] == [False, True, False, True]


@pytest.mark.parametrize("roles", [("user", "assistant"), ("human", "gpt")])
def test_open_thoughts_records(roles):
    turns = [{"from": roles[0], "value": "2+2?"}, {"from": roles[1], "value": OPEN_THOUGHT}]
    found = read_record({"system": "Think.", "conversations": turns})
    assert found.turns == (("system", "Think."), ("user", "2+2?"))
    assert found.replies == (Reply(text=OPEN_THOUGHT, complete=True),)


def test_messages_of_several_rounds():
    contents = ["2+2?", "4", "And 3+3?", THOUGHT]
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]
    found = read_record({"messages": messages})
    assert found.turns == (("user", "2+2?"), ("assistant", "4"), ("user", "And 3+3?"))
    assert found.replies[0].text == THOUGHT


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        (THOUGHT, "<think>\nOkay. Wait </think>"),
        (OPEN_THOUGHT, "<|begin_of_thought|>\n\nOkay.\n\n<|end_of_thought|>"),
        ("Okay.</think>4 </think>", "Okay.</think>"),
        (f"\n{CUT_OFF}", f"\n{CUT_OFF}"),
        ("plain", ""),
    ],
)
def test_the_two_parts_are_the_reply(text, reasoning):
    assert split_reply(text) == (reasoning, text.removeprefix(reasoning))
    assert part_of(text, "both") == text
    assert part_of(text, "reasoning") == reasoning


def test_a_part_of_white_space_is_none():
    assert part_of("<think>a</think>\n ", "answer") == ""


def test_dropping_the_marks_keeps_every_word():
    assert without_markers(THOUGHT) == "\nOkay. Wait \n\nIt is **4**.\n"
    assert without_markers(OPEN_THOUGHT) == "\n\nOkay.\n\n\n\n\n\n4\n\n"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"body": "a", "id": 1},
            r"the fields \['body', 'id'\], but text in none of the known ones: problem with",
        ),
        ({"problem": "a"}, r"the fields \['problem'\]"),
        (
            {"problem": "a", "generations": ["b", "c"], "is_reasoning_complete": [True]},
            "2 generations and 1 values of is_reasoning_complete",
        ),
        ({"messages": [{"role": "user", "content": "a"}]}, "ends with a turn of 'user'"),
    ],
)
def test_other_records_are_refused(record, message):
    with pytest.raises(ValueError, match=message):
        read_record(record)


@pytest.mark.skipif("TOOLKIT_TEST_DATA" not in os.environ, reason="TOOLKIT_TEST_DATA names no folder of real data")
def test_real_traces_keep_their_reasoning():
    path = Path(os.environ["TOOLKIT_TEST_DATA"]) / "reasoning_traces" / "deepseek-r1-distill-qwen-14b.jsonl"
    responses = [json.loads(line)["response"] for line in path.read_text().splitlines()]
    replies = [read_record({"response": response}).replies[0] for response in responses]
    assert [reply.text for reply in replies] == responses
    assert all(part_of(reply.text, "reasoning").startswith("<think>") for reply in replies)
    assert 0 < sum(reply.complete for reply in replies) < len(replies)
