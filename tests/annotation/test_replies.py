import json

import pytest

from toolkit.annotation.labels import CATEGORIES, Label, Unscored
from toolkit.annotation.replies import (
    CUT_OFF,
    EMPTY,
    NO_CATEGORY,
    NO_LABEL,
    NO_LIST,
    OTHER_LENGTH,
    REFUSED,
    THOUGHT_ONLY,
    Reply,
    answer_of,
    read_answers,
    read_completion,
    read_label,
)

OBJECT = '{"explanation": "It fires on Wait.", "category": "self-reflection"}'
LABEL = Label(category="self-reflection", explanation="It fires on Wait.")


@pytest.mark.parametrize(
    "answer",
    [
        OBJECT,
        f"```json\n{OBJECT}\n```",
        f"Sure! Here is the label:\n\n{OBJECT}\n\nI hope {{this}} helps.",
        f'{{"explanation": "A draft.", "category": "domain"}} Better: {OBJECT}',
        '{"category": "Self_Reflection ", "explanation": "It fires\\n on  Wait.", "confidence": 0.9}',
        '{"category": "self reflection", "explanation": "It fires\n on Wait."}',
    ],
)
def test_a_label_is_read_wherever_it_stands(answer: str) -> None:
    assert read_label(answer) == LABEL


def test_an_explanation_holds_nothing_that_cannot_be_shown_or_written() -> None:
    found = read_label('{"explanation": "It \\ud800 fires\\u001b[31m on\\u2028x.", "category": "domain"}')
    assert found == Label(category="domain", explanation="It \ufffd fires on x.")
    assert read_label('{"explanation": "\\u001b[31m", "category": "domain"}') == Unscored(reason=NO_LABEL)


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_is_read(category: str) -> None:
    found = read_label(json.dumps({"explanation": "x", "category": category.upper()}))
    assert isinstance(found, Label)
    assert found.category == category


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("It fires on Wait.", NO_LABEL),
        (OBJECT[:-2], NO_LABEL),
        ('{"explanation": "It fires on Wait."}', NO_LABEL),
        ('{"explanation": " ", "category": "domain"}', NO_LABEL),
        ('{"explanation": ["a"], "category": "domain"}', NO_LABEL),
        ('{"explanation": "a", "category": "mathematics"}', NO_CATEGORY),
        ('{"explanation": "a", "category": null}', NO_CATEGORY),
        ('{"explanation": "a", "category": ["domain", "language"]}', NO_CATEGORY),
        ("{" * 100_000, NO_LABEL),
        ('{"a":' * 10_000, NO_LABEL),
    ],
)
def test_a_label_that_is_not_whole_is_unscored(answer: str, reason: str) -> None:
    assert read_label(answer) == Unscored(reason=reason)


@pytest.mark.parametrize(
    "answer",
    [
        "[1, 0, 1]",
        "```\n[1,0,1]\n```",
        "[true, false, true]",
        '["1", "0", "1"]',
        "Passage [1] has it. The answer is [1, 0, 1].",
        "First thought: [0, 0, 0]. No: [1, 0, 1]",
        '{"answers": [1, 0, 1]}',
    ],
)
def test_answers_are_read_wherever_they_stand(answer: str) -> None:
    assert read_answers(answer, 3) == [True, False, True]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("yes, no, yes", NO_LIST),
        ("[1, 0, ", NO_LIST),
        ("[]", NO_LIST),
        ("[1, 0, 2]", NO_LIST),
        ("[1, 0, 0.5]", NO_LIST),
        ('[1, 0, "yes"]', NO_LIST),
        ("[1, 0, null]", NO_LIST),
        ("[1, 0]", OTHER_LENGTH),
        ("[[1], [0], [1]]", OTHER_LENGTH),
        ("[1, 0, 1, 1]", OTHER_LENGTH),
        ("[" * 100_000, NO_LIST),
    ],
)
def test_answers_that_do_not_fit_are_unscored_and_never_filled_up(answer: str, reason: str) -> None:
    assert read_answers(answer, 3) == Unscored(reason=reason)


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("[1]", "[1]"),
        ("<think>\nIs it [0]?\n</think>\n\n[1]", "[1]"),
        ("Is it [0]?</think>[1]", "[1]"),
        ("<think></think> a <think>b</think>[1]", "[1]"),
    ],
)
def test_the_answer_stands_after_the_thinking(content: str, answer: str) -> None:
    assert answer_of(Reply(content=content, ended="stop")) == answer


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(content="[1, 0", ended="length"), CUT_OFF),
        (Reply(content="[1]", ended="length"), CUT_OFF),
        (Reply(content="<think>Is it [0]?</think>[1, ", ended="length"), CUT_OFF),
        (Reply(content="<think>Is it [0]?", ended="length"), THOUGHT_ONLY),
        (Reply(content="<think>Is it [0]?</think>\n", ended="stop"), THOUGHT_ONLY),
        (Reply(content="</think>", ended="stop"), THOUGHT_ONLY),
        (Reply(content="", ended="length", thought=True), THOUGHT_ONLY),
        (Reply(content=" ", ended="stop"), EMPTY),
        (Reply(content="I cannot", ended="content_filter"), REFUSED),
    ],
)
def test_a_reply_without_a_whole_answer_is_unscored(reply: Reply, reason: str) -> None:
    assert answer_of(reply) == Unscored(reason=reason)


def test_a_completion_is_read_with_its_thinking_and_its_tokens() -> None:
    message = {"role": "assistant", "content": None, "reasoning_content": "Hm."}
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    found = read_completion({"choices": [{"message": message, "finish_reason": "length"}], "usage": usage})
    assert found == Reply(content="", ended="length", thought=True, tokens_in=7, tokens_out=3)


def test_a_server_may_leave_out_the_tokens_and_the_end() -> None:
    assert read_completion({"choices": [{"message": {"content": "a"}}]}) == Reply(content="a", ended="None")


FAILED_MEANWHILE = {"choices": [{"message": {"content": "[1, "}, "finish_reason": "error", "error": {"code": 502}}]}


@pytest.mark.parametrize(
    "sent", ["<html>", None, [], {}, {"error": {"code": 502}}, {"choices": []}, {"choices": [{}]}, FAILED_MEANWHILE]
)
def test_what_is_no_completion_is_no_reply(sent: object) -> None:
    assert read_completion(sent) is None
