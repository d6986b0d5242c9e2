import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_loopback import LABEL, MODEL, ChatLoopback, completion

from toolkit.annotation.evidence import Evidence
from toolkit.annotation.labels import Annotator, Label, Unscored
from toolkit.annotation.replies import (
    CUT_OFF,
    EMPTY,
    NO_CATEGORY,
    NO_LABEL,
    NO_LIST,
    OTHER_LENGTH,
    REFUSED,
    THOUGHT_ONLY,
)
from toolkit.annotation.server import ServerAnnotator
from toolkit.annotation.server_choice import ServerChoice
from toolkit.annotation.server_costs import Estimate, Usage

KEY = "sk-the-key-of-the-tests"
WAIT = Label(category="self-reflection", explanation="The latent fires on the word Wait.")
Asking = Callable[..., ServerAnnotator]


def annotate(annotator: Annotator, evidence: Evidence) -> list[Any]:
    label = annotator.explain(evidence)
    assert isinstance(label, Label)
    passages = [*evidence.firing, *evidence.near]
    marked = [(each, frozenset({2 if each in evidence.firing else 0})) for each in passages]
    return [label, annotator.detect(label.explanation, passages), annotator.fuzz(label.explanation, marked)]


FOUND = [WAIT, [True] * 3 + [False] * 3, [True] * 3 + [False] * 3]


def test_a_latent_is_labelled_and_its_explanation_judged(asking: Asking, evidence_of_wait: Evidence) -> None:
    annotator = asking()
    assert annotate(annotator, evidence_of_wait) == FOUND
    assert annotator.name == MODEL
    assert annotator.usage == Usage(requests=3, tokens_in=300, tokens_out=30)


CUT = completion('{"explanation": "The la', ended="length")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("I would say it is Wait.", NO_LABEL),
        ('{"explanation": "x", "category": "maths"}', NO_CATEGORY),
        (CUT, CUT_OFF),
        (completion(""), EMPTY),
        (completion(None), EMPTY),
    ],
)
def test_a_label_that_cannot_be_used_is_asked_for_once_more(
    fault: Any, reason: str, loopback: ChatLoopback, asking: Asking, evidence_of_wait: Evidence
) -> None:
    loopback.faults.append(fault)
    assert asking().explain(evidence_of_wait) == WAIT
    first, second = loopback.prompts
    assert second.startswith(first)
    assert reason in second
    loopback.faults.extend([fault, fault])
    assert asking(cache="other").explain(evidence_of_wait) == Unscored(reason=reason)
    assert len(loopback.prompts) == 4


@pytest.mark.parametrize(("fault", "reason"), [("[1, 0, 1]", OTHER_LENGTH), ("[1, 0", NO_LIST), ("No.", NO_LIST)])
def test_answers_that_cannot_be_used_are_never_counted_as_no(
    fault: Any, reason: str, loopback: ChatLoopback, asking: Asking, evidence_of_wait: Evidence
) -> None:
    annotator, firing = asking(), evidence_of_wait.firing[:2]
    loopback.faults.append(fault)
    assert annotator.detect("x", firing) == [True, True]
    loopback.faults.extend([fault, fault])
    assert annotator.fuzz("x", [(each, frozenset({2})) for each in firing]) == Unscored(reason=reason)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (completion("", ended="length", reasoning_content="Hm. " * 50), THOUGHT_ONLY),
        (completion(None, ended="stop", reasoning="Hm."), THOUGHT_ONLY),
        (completion("<think>Hm.", ended="length"), THOUGHT_ONLY),
        (completion("I cannot", ended="content_filter"), REFUSED),
        (400, "the server refused the request: 400"),
    ],
)
def test_there_is_no_second_request_where_it_cannot_help(
    fault: Any, reason: str, loopback: ChatLoopback, asking: Asking, evidence_of_wait: Evidence
) -> None:
    loopback.faults.append(fault)
    assert asking().detect("x", evidence_of_wait.firing) == Unscored(reason=reason)
    assert len(loopback.prompts) == 1


def test_a_reply_after_thinking_is_read(loopback: ChatLoopback, asking: Asking, evidence_of_wait: Evidence) -> None:
    loopback.faults.extend([f"<think>Is it {{}}?</think>\n```json\n{LABEL}\n```", completion("[1]", reasoning="[0]")])
    annotator = asking()
    assert annotator.explain(evidence_of_wait) == WAIT
    assert annotator.detect("x", evidence_of_wait.firing[:1]) == [True]


# What is kept.


def test_another_annotator_on_the_same_file_asks_nothing(
    loopback: ChatLoopback, asking: Asking, evidence_of_wait: Evidence
) -> None:
    annotate(asking(), evidence_of_wait)
    again = asking()
    loopback.stop()
    try:
        assert annotate(again, evidence_of_wait) == FOUND
    finally:
        loopback.start()
    assert again.usage == Usage(kept=3)
    assert len(loopback.prompts) == 3


def test_a_reply_that_cannot_be_used_is_kept_too(
    loopback: ChatLoopback, asking: Asking, evidence_of_wait: Evidence
) -> None:
    loopback.faults.extend(["Yes.", "Yes."])
    found = [asking().detect("x", evidence_of_wait.firing) for _ in range(2)]
    assert found == [Unscored(reason=NO_LIST)] * 2
    assert len(loopback.prompts) == 2


def test_what_a_busy_server_did_not_answer_is_asked_again(
    loopback: ChatLoopback, asking: Asking, evidence_of_wait: Evidence
) -> None:
    loopback.faults.extend([503, 503])
    assert isinstance(asking(tries=2).detect("x", evidence_of_wait.firing), Unscored)
    assert asking(tries=2).detect("x", evidence_of_wait.firing) == [True] * 3


@pytest.mark.parametrize("change", [{"temperature": 0.5}, {"reply_tokens": 9}, {"model": "other"}])
def test_a_reply_to_other_settings_is_another_reply(
    change: dict, loopback: ChatLoopback, asking: Asking, evidence_of_wait: Evidence
) -> None:
    loopback.models = None
    asking().detect("x", evidence_of_wait.firing)
    asking(**change).detect("x", evidence_of_wait.firing)
    assert len(loopback.prompts) == 2


def test_settings_that_decide_no_reply_leave_what_is_kept(
    loopback: ChatLoopback, asking: Asking, evidence_of_wait: Evidence
) -> None:
    asking().detect("x", evidence_of_wait.firing)
    asking(requests=1, tries=1, reply_seconds=5.0, base_url=f"{loopback.url}/", key=KEY).detect(
        "x", evidence_of_wait.firing
    )
    assert len(loopback.prompts) == 1


WORK = """
import sys
from pathlib import Path
from toolkit.annotation.evidence import Passage
from toolkit.annotation.server import ServerAnnotator
from toolkit.annotation.server_choice import ServerChoice

annotator = ServerAnnotator(ServerChoice(base_url=sys.argv[1], model=sys.argv[2]), Path(sys.argv[3]))
for number in range(8):
    annotator.detect(f"{number}", [Passage(document=0, tokens=("Wait",), codes=(1.0,))])
"""


def test_work_that_was_killed_asks_nothing_twice(loopback: ChatLoopback, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORK, loopback.url, MODEL, str(tmp_path / "replies.sqlite")]
    killed: list[str] = []

    def answer(prompt: str) -> str:
        if len(loopback.prompts) == 5 and not killed:
            killed.append(prompt)
            os.kill(process.pid, signal.SIGKILL)
        return "[1]"

    loopback.answer = answer
    process = subprocess.Popen(command)
    assert process.wait(60) == -signal.SIGKILL
    subprocess.run(command, check=True, timeout=60)
    asked = loopback.prompts
    assert len(asked) == 9
    assert [prompt for prompt in set(asked) if asked.count(prompt) > 1] == killed, "only its reply never came"


INTERRUPTED = """
import signal
from toolkit.models.places.ndif.in_flight import in_flight

passages = [Passage(document=0, tokens=("Wait",), codes=(1.0,))]
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that run in the background ignore it
try:
    list(in_flight(lambda number: annotator.detect(f"{number}", passages), range(99), at_once=8))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interrupted_program_ends_in_order_while_replies_are_waited_for(
    loopback: ChatLoopback, tmp_path: Path
) -> None:
    loopback.gate = threading.Event()
    script = WORK.partition("for number")[0] + INTERRUPTED
    process = subprocess.Popen([sys.executable, "-c", script, loopback.url, MODEL, str(tmp_path / "replies.sqlite")])
    while loopback.at_once < 8:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    loopback.gate.set()


@pytest.mark.parametrize("fault", [None, 401, 500, "drop"])
def test_the_key_is_written_nowhere(
    fault: Any, loopback: ChatLoopback, asking: Asking, evidence_of_wait: Evidence, tmp_path: Path
) -> None:
    annotator = asking(key=KEY, tries=2)
    loopback.faults.extend([] if fault is None else [fault, fault])
    try:
        said = repr(annotator.detect("x", evidence_of_wait.firing))
    except ValueError as error:
        said = repr(error)
    assert loopback.keys[0] == f"Bearer {KEY}"
    assert KEY not in said
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir())
    assert KEY not in repr(ServerChoice(base_url=loopback.url, model=MODEL))


# What it costs.


def test_an_estimate_counts_requests_without_a_request(
    loopback: ChatLoopback, asking: Asking, evidence_of_wait: Evidence
) -> None:
    annotator = asking(reply_tokens=1000)
    estimate = annotator.estimate(lambda annotator: annotate(annotator, evidence_of_wait))
    assert (estimate.requests, estimate.kept, estimate.most_tokens_out) == (3, 0, 3000)
    assert loopback.prompts == []
    annotate(annotator, evidence_of_wait)
    assert estimate.tokens_in == pytest.approx(sum(map(len, loopback.prompts)) / 3, rel=0.1)
    assert annotator.usage.requests == 3, "the estimate is not counted"


def test_an_estimate_leaves_out_what_is_kept(asking: Asking, evidence_of_wait: Evidence) -> None:
    annotator = asking()
    annotator.explain(evidence_of_wait)
    estimate = annotator.estimate(lambda annotator: annotate(annotator, evidence_of_wait))
    assert (estimate.requests, estimate.kept) == (2, 1)
    annotate(annotator, evidence_of_wait)
    assert annotator.estimate(lambda annotator: annotate(annotator, evidence_of_wait)) == Estimate(
        kept=3, most_tokens_out=0
    )


def test_tokens_have_a_price() -> None:
    assert Usage(tokens_in=2_000_000, tokens_out=500_000).cost(0.15, 0.6) == pytest.approx(0.6)


def test_replies_without_their_tokens_are_counted_apart(
    loopback: ChatLoopback, asking: Asking, evidence_of_wait: Evidence
) -> None:
    loopback.faults.append({"choices": completion("[1, 1, 1]")["choices"]})
    annotator = asking()
    annotator.detect("x", evidence_of_wait.firing)
    assert annotator.usage == Usage(requests=1, uncounted=1)


# Bad input.


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": "http://x/v1"}, "base_url 'http://x/v1': needs model too"),
        ({"model": "m"}, "model 'm': needs base_url too"),
        ({"requests": 0}, "requests 0: must be at least 1"),
        ({"temperature": -1.0}, "temperature -1.0: must be 0"),
        ({"price_in": 1.0}, "price_in and price_out: give both, or neither"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        ServerChoice(**settings)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("localhost:8000", r"^base_url 'localhost:8000': must be the address of a server, such as http://localhost:"),
        ("ftp://host/v1", "must be the address"),
        ("http://", "must be the address"),
        ("http://host:99999999/v1", "must be the address"),
        ("http://host/v1?key=secret", "must be the address"),
        ("http://me:secret@host/v1", "must not hold a user name or a password"),
    ],
)
def test_what_is_no_address_is_refused(address: str, said: str, asking: Asking) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        asking(base_url=address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-a b", "sk-…", "sk-a\nb"])
def test_a_key_that_no_header_takes_is_refused_and_not_shown(key: str, asking: Asking) -> None:
    with pytest.raises(ValueError, match=r"^the key in OPENAI_API_KEY holds characters that no key has") as caught:
        asking(key=key)
    assert key not in str(caught.value)


def test_a_proxy_is_not_asked_for_a_server_on_this_machine(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, evidence_of_wait: Evidence
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert asking(tries=1).detect("x", evidence_of_wait.firing) == [True] * 3


def test_without_the_package_the_extra_is_named(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(
        ValueError, match=r"needs the package openai: pip install 'distillation-crosscoders\[annotate\]'"
    ):
        asking()


def test_the_package_is_loaded_by_a_server_alone() -> None:
    code = "import sys, toolkit.annotation.server, toolkit.annotation.server_choice; print('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
