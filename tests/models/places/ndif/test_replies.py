import json

import pytest

from toolkit.models.places.ndif.replies import TryAgainError, read_reply


def test_a_state_that_is_not_known_means_that_the_job_is_under_way() -> None:
    reply = read_reply('{"id": "a1", "status": "PONDERING", "meta": {"more": [1]}}', "a1")
    assert (reply.job, reply.status, reply.address) == ("a1", "PONDERING", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "[]",
        "7",
        "null",
        "{}",
        '{"id": "a1"}',
        '{"id": "a1", "status": 3}',
        '{"id": "a1", "status": "ERROR", "description": ["x"]}',
        '{"id": 5, "status": "RUNNING"}',
        '{"id": "../status", "status": "RUNNING"}',
        '{"id": "a1?x", "status": "RUNNING"}',
        '{"id": "", "status": "RUNNING"}',
        json.dumps({"id": "a" * 200, "status": "RUNNING"}),
        '{"id": "a1", "status": "COMPLETED"}',
        '{"id": "a1", "status": "COMPLETED", "data": {"url": "x"}}',
        "[" * 100_000,
    ],
)
def test_other_text_is_no_reply(text: str) -> None:
    with pytest.raises(TryAgainError):
        read_reply(text)


def test_a_reply_about_another_job_is_none() -> None:
    with pytest.raises(TryAgainError, match="about another job"):
        read_reply('{"id": "a2", "status": "RUNNING"}', "a1")
