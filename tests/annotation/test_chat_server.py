import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from email.utils import formatdate
from typing import Any

import pytest
from chat_loopback import MODEL, ChatLoopback, Refused, completion

from toolkit.annotation.chat_server import ChatServer
from toolkit.annotation.labels import Unscored
from toolkit.annotation.replies import Reply
from toolkit.annotation.server_choice import ServerChoice
from toolkit.annotation.server_connection import BUSY, FAILED, LATE, STRANGE
from toolkit.models.places.ndif.in_flight import in_flight

KEY = "sk-the-key-of-the-tests"
REPLY = Reply(content="1", ended="stop", tokens_in=100, tokens_out=10)
Connect = Callable[..., ChatServer]


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def connect(loopback: ChatLoopback, pauses: list[float]) -> Connect:
    def connect(key: str | None = None, **settings: Any) -> ChatServer:
        choice = ServerChoice(**{"base_url": loopback.url, "model": MODEL, **settings})
        return ChatServer(choice, key=key, pause=pauses.append)

    return connect


@pytest.mark.parametrize("fault", [408, 429, 500, 502, 503, 504, "drop", {"error": {"code": 502}}])
def test_what_may_pass_is_tried_again(fault: Any, loopback: ChatLoopback, connect: Connect, pauses: list) -> None:
    loopback.faults.extend([fault, fault])
    assert connect().ask("a") == REPLY
    assert loopback.prompts == ["a"] * 3
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("fault", "reason"), [(429, BUSY), (500, FAILED), (503, FAILED), ({"error": {"code": 502}}, STRANGE)]
)
def test_after_the_last_try_there_is_no_reply(
    fault: Any, reason: str, loopback: ChatLoopback, connect: Connect, pauses: list
) -> None:
    loopback.faults.extend([fault] * 3)
    assert connect(tries=3).ask("a") == Unscored(reason=reason)
    assert (len(loopback.prompts), len(pauses)) == (3, 2)


def test_a_slow_reply_is_asked_for_again(loopback: ChatLoopback, connect: Connect) -> None:
    loopback.faults.append("hang")
    assert connect(reply_seconds=0.3).ask("a") == REPLY
    loopback.faults.extend(["hang", "hang"])
    assert connect(reply_seconds=0.2, tries=2).ask("a") == Unscored(reason=LATE)


def test_pauses_grow_to_a_minute_and_differ(loopback: ChatLoopback, connect: Connect, pauses: list) -> None:
    loopback.faults.extend([500] * 9)
    connect(tries=10).ask("a")
    for pause, most in zip(pauses, (1, 2, 4, 8, 16, 32, 60, 60, 60), strict=True):
        assert most / 2 <= pause <= most
    assert pauses[-1] != pauses[-2]


@pytest.mark.parametrize("as_date", [False, True])
def test_the_pause_that_a_server_wants_is_kept(
    as_date: bool, loopback: ChatLoopback, connect: Connect, pauses: list
) -> None:
    wanted = formatdate(time.time() + 40, usegmt=True) if as_date else "40"
    loopback.faults.append(Refused(429, {"retry-after": wanted}))
    assert connect().ask("a") == REPLY
    assert pauses == [pytest.approx(40, abs=3)]


def test_a_pause_of_a_day_ends_the_work(loopback: ChatLoopback, connect: Connect, pauses: list) -> None:
    loopback.faults.append(Refused(429, {"retry-after": "86400"}))
    with pytest.raises(ValueError, match=r"wants no request for 24:00:00 .*the same command again then$"):
        connect().ask("a")
    assert pauses == []


@pytest.mark.parametrize("status", [400, 403, 413, 422])
def test_a_request_that_is_refused_has_no_reply_and_no_second_try(
    status: int, loopback: ChatLoopback, connect: Connect
) -> None:
    loopback.faults.append(status)
    server = connect()
    assert server.ask("a") == Unscored(reason=f"the server refused the request: {status}")
    assert server.ask("b") == REPLY
    assert loopback.prompts == ["a", "b"]


def test_a_server_that_dies_ends_the_work_with_what_to_do(loopback: ChatLoopback, connect: Connect) -> None:
    server = connect(tries=3)
    assert server.ask("a") == REPLY
    loopback.stop()
    try:
        with pytest.raises(ValueError, match=r"^no server answers at http://127.*any more .*refused.*the same command"):
            server.ask("b")
    finally:
        loopback.start()
    with pytest.raises(ValueError, match="any more"):
        server.ask("other threads end too")
    assert loopback.prompts == ["a"]


def test_a_server_that_comes_back_goes_on(loopback: ChatLoopback) -> None:
    server = ChatServer(ServerChoice(base_url=loopback.url, model=MODEL), pause=lambda _: loopback.start())
    loopback.stop()
    assert server.ask("a") == REPLY


def test_no_more_requests_are_under_way_than_allowed(loopback: ChatLoopback, connect: Connect) -> None:
    loopback.gate = threading.Event()
    server = connect(requests=3)
    with ThreadPoolExecutor(12) as pool:
        replies = [pool.submit(server.ask, str(i)) for i in range(12)]
        while loopback.at_once < 3:
            time.sleep(0.001)
        time.sleep(0.05)  # more would come now
        loopback.gate.set()
        assert [each.result() for each in replies] == [REPLY] * 12
    assert loopback.most_at_once == 3


def test_work_that_is_no_longer_wanted_sends_no_more(loopback: ChatLoopback) -> None:
    paused, ended, given_up = threading.Event(), threading.Event(), threading.Event()

    def pause(_: float) -> None:
        paused.set()
        ended.wait(10)

    def ask(prompt: str) -> None:
        if prompt == "first":
            paused.wait(10)
            return
        try:
            server.ask(prompt)
        except CancelledError:
            given_up.set()

    server = ChatServer(ServerChoice(base_url=loopback.url, model=MODEL), pause=pause)
    loopback.faults.append(500)
    results = iter(in_flight(ask, ["first", "second"], at_once=2))
    next(results)
    del results
    ended.set()
    assert given_up.wait(10)
    assert loopback.prompts == ["second"]


def test_a_model_that_knows_the_limit_by_its_other_name_is_asked_so(loopback: ChatLoopback, connect: Connect) -> None:
    loopback.known_parameters = {"model", "messages", "temperature", "max_completion_tokens"}
    server = connect(reply_tokens=77)
    assert [server.ask("a"), server.ask("b")] == [REPLY, REPLY]
    assert [body["max_completion_tokens"] for body in loopback.bodies] == [77, 77]


def test_the_request_holds_what_the_settings_say(loopback: ChatLoopback, connect: Connect) -> None:
    connect(reply_tokens=77, temperature=0.5).ask("a")
    message = {"role": "user", "content": "a"}
    assert loopback.bodies == [{"model": MODEL, "messages": [message], "temperature": 0.5, "max_tokens": 77}]


# The first check.


def test_a_server_that_serves_the_model_passes(loopback: ChatLoopback, connect: Connect) -> None:
    connect().check()
    assert len(loopback.prompts) == 1


def test_a_server_without_a_list_of_models_passes(loopback: ChatLoopback, connect: Connect) -> None:
    loopback.models = None
    connect(model="any").check()


@pytest.mark.parametrize("status", [403, 405, 500])
def test_a_server_that_refuses_the_list_alone_passes(status: int, loopback: ChatLoopback, connect: Connect) -> None:
    loopback.lists_nothing_for = status
    connect().check()


@pytest.mark.parametrize(("model", "listed"), [("qwen3", "qwen3:latest"), ("qwen/qwen3:free", "qwen/qwen3")])
def test_a_server_may_list_a_model_by_a_longer_or_shorter_name(
    model: str, listed: str, loopback: ChatLoopback, connect: Connect
) -> None:
    loopback.models, loopback.other_names = ["other", listed], {model}
    connect(model=model).check()
    assert loopback.bodies[0]["model"] == model


def test_another_model_name_lists_those_that_there_are(loopback: ChatLoopback, connect: Connect) -> None:
    loopback.models = ["zephyr", "qwen3-8b", "qwen3-14b"]
    with pytest.raises(ValueError, match=r"has no model 'qwen3-7b': give --model one of qwen3-8b, qwen3-14b, zephyr$"):
        connect(model="qwen3-7b").check()
    loopback.models = [f"model-{i}" for i in range(300)]
    with pytest.raises(ValueError, match=r"(model-\d+, ){4}model-\d+ and 295 more$"):
        connect(model="qwen3-7b").check()
    assert loopback.prompts == []


def test_another_model_name_is_found_without_a_list_too(loopback: ChatLoopback, connect: Connect) -> None:
    loopback.models = None
    loopback.faults.append(404)
    with pytest.raises(ValueError, match=r"has no model 'the-model', or no chat completions \(.*fault 404.*\): give"):
        connect().check()


def test_a_server_that_is_not_there_is_named_with_what_to_do(connect: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(
            ValueError, match=rf"^no server answers at {url} \(.*refused.*\): start it, or give another"
        ):
            connect(base_url=url).check()


def test_a_server_of_another_protocol_is_told_from_one_that_is_not_there(
    loopback: ChatLoopback, connect: Connect, pauses: list
) -> None:
    with pytest.raises(
        ValueError, match=r"no chat completions .*: give another --model, or an address that ends in /v1"
    ):
        connect(base_url=loopback.url.removesuffix("/v1")).check()
    loopback.faults.extend([{"hello": "world"}] * 3)
    with pytest.raises(ValueError, match=r"is no OpenAI-compatible server \(.*hello.*\): the address of most ends in"):
        connect(tries=3).check()


def test_a_server_that_refuses_the_first_request_says_why(loopback: ChatLoopback, connect: Connect) -> None:
    loopback.known_parameters = {"model", "messages", "max_tokens"}
    with pytest.raises(ValueError, match=r"first, short request \(.*Unsupported parameter: 'temperature'"):
        connect().check()


# The key.


def test_the_key_of_the_environment_is_sent(
    loopback: ChatLoopback, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback.key = KEY
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    connect().check()
    assert loopback.keys == [f"Bearer {KEY}"]


def test_a_missing_key_is_asked_for(loopback: ChatLoopback, connect: Connect) -> None:
    loopback.key = KEY
    with pytest.raises(ValueError, match=r"^http://127\S+ wants a key \(.*\): export OPENAI_API_KEY=…$"):
        connect().check()


def test_a_wrong_key_is_said_to_be_wrong_and_never_shown(loopback: ChatLoopback, connect: Connect) -> None:
    loopback.key = KEY
    with pytest.raises(ValueError, match=r"refuses the key in OPENAI_API_KEY .*Bearer ….*: export the right") as caught:
        connect(key="sk-another-key").check()
    assert "another-key" not in str(caught.value)


def test_the_environments_key_is_sent_over_plain_http_to_this_machine_alone(
    loopback: ChatLoopback, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("toolkit.annotation.server_connection.is_here", lambda _: False)
    connect().ask("a")
    connect(key=KEY).ask("a key that is given in Python is meant for this server")
    assert loopback.keys == ["Bearer none", f"Bearer {KEY}"]
    loopback.key = KEY
    with pytest.raises(
        ValueError, match=r"wants a key .*over plain http anyone on the way could read: give an address"
    ):
        connect().check()


def test_a_key_that_is_refused_in_the_middle_ends_the_work(loopback: ChatLoopback, connect: Connect) -> None:
    server = connect(key=KEY)
    loopback.faults.append(401)
    with pytest.raises(ValueError, match=r"refuses the key in OPENAI_API_KEY .*the same command again, once that"):
        server.ask("a")
    with pytest.raises(ValueError, match="refuses the key"):
        server.ask("b")
    assert loopback.prompts == ["a"]


@pytest.mark.parametrize("fault", [402, Refused(429, code="insufficient_quota")])
def test_an_account_without_credit_ends_the_work(fault: Any, loopback: ChatLoopback, connect: Connect) -> None:
    loopback.faults.append(fault)
    with pytest.raises(ValueError, match="has no credit"):
        connect(key=KEY).ask("a")


def test_an_error_in_place_of_a_reply_is_shown_as_one_line(loopback: ChatLoopback, connect: Connect) -> None:
    loopback.faults.append(completion("1") | {"choices": "a\nb" * 1000})
    with pytest.raises(ValueError, match="is no OpenAI-compatible server") as caught:
        connect(tries=1).check()
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400
