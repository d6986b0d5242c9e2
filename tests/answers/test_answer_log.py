"""Files of answers: after any end the same answers come out, and none is written twice."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from toolkit.answers.answer_log import AnswerLog, open_log, write_missing
from toolkit.answers.answering import Answerer, Writing, free_rows
from toolkit.answers.questions import Question
from toolkit.answers.records import Written
from toolkit.artifacts import DiskFullError
from toolkit.interventions.edits import shift
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.pair import ModelPair

QUESTIONS = [Question(question=f"What is {number} plus 5?", answer=None) for number in (17, 2, 30)]
WRITING = Writing(hesitation_ids=frozenset(), new_tokens=6, temperature=1.0, samples=2, seed=2)
IN_ALL = 2 * 3 * 2

KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from toolkit.answers.answer_log import AnswerLog, open_log, write_missing
from toolkit.answers.answering import Answerer, Writing, free_rows
from toolkit.answers.questions import Question
from toolkit.models.pair import ModelPair

base, distilled, path = sys.argv[1:]
pair = ModelPair.from_pretrained(base=base, distilled=distilled, where="cpu")
questions = [Question(question=f"What is {number} plus 5?", answer=None) for number in (17, 2, 30)]
writing = Writing(hesitation_ids=frozenset(), new_tokens=6, temperature=1.0, samples=2, seed=2)
arms = {"distilled": Answerer(pair.distilled, None, "two"), "base": Answerer(pair.base, None, "one")}
keep = AnswerLog.keep

def keep_four(log, row, question, written):
    if len(Path(path).read_text().splitlines()) == 5:
        with open(path, "a") as file:
            file.write('{"arm": "base", "que')
        os.kill(os.getpid(), signal.SIGKILL)
    keep(log, row, question, written)

AnswerLog.keep = keep_four
with open_log(Path(path), arms, writing.facts, greedy=False) as log:
    write_missing(log, arms, free_rows(arms, questions, writing), writing.sampling, questions)
"""


@dataclass
class Asking:
    """Arms that are asked, and what the answers are kept in."""

    pair: ModelPair
    path: Path
    arms: Mapping[str, Answerer] = field(init=False)

    def __post_init__(self) -> None:
        self.arms = {
            "distilled": Answerer(self.pair.distilled, None, "two"),
            "base": Answerer(self.pair.base, None, "one"),
        }

    def ask(self, writing: Writing = WRITING, **more: object) -> tuple[list[Written], int]:
        """All answers, and how many of them were written now."""
        arms, questions = more.get("arms", self.arms), more.get("questions", QUESTIONS)
        with open_log(self.path, arms, writing.facts, greedy=writing.temperature == 0) as log:  # type: ignore[arg-type]
            rows = free_rows(arms, questions, writing)  # type: ignore[arg-type]
            return write_missing(log, arms, rows, writing.sampling, questions)  # type: ignore[arg-type]

    def lines(self) -> list[str]:
        """The file's lines in an order of their own."""
        return sorted(self.path.read_text().splitlines())


@pytest.fixture
def asking(pair: ModelPair, tmp_path: Path) -> Asking:
    return Asking(pair, tmp_path / "answers.jsonl")


@pytest.fixture
def whole(pair: ModelPair, tmp_path: Path) -> Asking:
    """One that was asked without an interruption."""
    asked = Asking(pair, tmp_path / "whole.jsonl")
    assert asked.ask()[1] == IN_ALL
    return asked


def test_kept_answers_are_read_and_not_written_again(whole: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, before = whole.ask()[0], whole.path.read_bytes()
    plain = write_missing(None, whole.arms, free_rows(whole.arms, QUESTIONS, WRITING), WRITING.sampling, QUESTIONS)
    assert plain == (answers, IN_ALL)
    monkeypatch.setattr(TracedModel, "generate_each", lambda *_, **__: pytest.fail("it was written again"))
    assert whole.ask() == (answers, 0)
    assert whole.path.read_bytes() == before
    first = json.loads(before.splitlines()[1])
    assert first["question"] in {each.question for each in QUESTIONS}
    assert first["text"] == whole.pair.tokenizer.decode(first["token_ids"])


@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_run_that_failed_goes_on_where_it_was(
    whole: Asking, asking: Asking, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    keep = AnswerLog.keep

    def failing(log: AnswerLog, *given: object) -> None:
        if len(asking.lines()) > after:
            raise RuntimeError("the server went away")
        keep(log, *given)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(AnswerLog, "keep", failing)
        with pytest.raises(RuntimeError, match="went away"):
            asking.ask()
    assert asking.ask() == (whole.ask()[0], IN_ALL - after)
    assert asking.lines() == whole.lines()


def test_a_killed_run_goes_on_where_it_was(whole: Asking, asking: Asking, organism_folders: tuple[str, str]) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, *organism_folders, str(asking.path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not asking.path.read_text().endswith("\n")
    assert asking.ask() == (whole.ask()[0], IN_ALL - 4)
    assert asking.lines() == whole.lines()


def test_a_line_that_was_not_written_to_its_end_is_written_again(whole: Asking) -> None:
    answers, content = whole.ask()[0], whole.path.read_bytes()
    for cut in (1, 40):
        whole.path.write_bytes(content[:-cut])
        assert whole.ask() == (answers, 1)
        assert whole.path.read_bytes() == content
    whole.path.write_bytes(content[:20])  # even the first line may be cut
    assert whole.ask() == (answers, IN_ALL)


def test_a_line_that_is_no_answer_is_named(whole: Asking) -> None:
    words = '{"arm": "base", "prompt": "", "sample": 0, "seed": 0, "budget": null, "token_ids": "some"}'
    for line in ("{", '{"arm": "base"}', "3", words):
        whole.path.write_text(f"{whole.lines()[-1]}\n{line}\n")
        with pytest.raises(ValueError, match=r"whole.jsonl, line 2 is no answer: delete the line, or give --out"):
            whole.ask()


def test_two_processes_do_not_write_to_one_file(whole: Asking) -> None:
    greedy = WRITING.temperature == 0
    with (
        open_log(whole.path, whole.arms, WRITING.facts, greedy=greedy),
        pytest.raises(ValueError, match="another process"),
    ):
        whole.ask()
    assert whole.ask()[1] == 0


def test_more_arms_questions_and_samples_use_what_is_kept(whole: Asking) -> None:
    other = Question(question="What is 9-4?", answer=None)
    assert whole.ask(questions=[*QUESTIONS, other])[1] == 4
    assert whole.ask(replace(WRITING, samples=3), questions=[*QUESTIONS, other])[1] == 8
    edited = Answerer(whole.pair.distilled, shift(1, torch.ones(16)), "two")
    assert whole.ask(arms={**whole.arms, "edited": edited})[1] == 6
    assert whole.ask(arms={"edited": edited}, questions=QUESTIONS[:1])[1] == 0
    assert whole.ask()[1] == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"new_tokens": 7}, "new_tokens 6 there, 7 here"),
        ({"temperature": 0.5, "seed": 3}, "temperature 1.0 there, 0.5 here; seed 2 there, 3 here"),
        ({"instruction": "Box it."}, "instruction '' there, 'Box it.' here"),
    ],
)
def test_a_file_of_other_settings_is_refused_with_what_differs(whole: Asking, changes: dict, said: str) -> None:
    before = whole.path.read_bytes()
    with pytest.raises(ValueError, match="give the settings that they were written with, or --out another folder") as e:
        whole.ask(replace(WRITING, **changes))
    assert f"whole.jsonl keeps other answers ({said}):" in str(e.value)
    assert whole.path.read_bytes() == before


def test_an_arm_that_is_another_model_or_edit_is_refused(whole: Asking) -> None:
    with pytest.raises(ValueError, match="arm 'base' is another model there"):
        whole.ask(arms=whole.arms | {"base": Answerer(whole.pair.base, None, "three")})
    with pytest.raises(ValueError, match="arm 'base' is another edit there"):
        whole.ask(arms=whole.arms | {"base": Answerer(whole.pair.base, shift(1, torch.ones(16)), "one")})


def test_greedy_answers_are_kept_for_every_seed(asking: Asking) -> None:
    greedy = replace(WRITING, temperature=0.0, samples=1)
    assert asking.ask(greedy)[1] == 6
    assert asking.ask(replace(greedy, seed=5), questions=QUESTIONS[::-1])[1] == 0


def test_a_full_disk_is_explained_and_the_run_goes_on_from_there(
    whole: Asking, asking: Asking, small_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    asking.path.write_text(
        json.dumps({"padding": "x" * 3000, "answers of": {"settings": WRITING.facts, "arms": {}}}) + "\n"
    )
    with (
        small_disk(),
        pytest.raises(DiskFullError, match=r"no room left to write to .*: free some space, and give the same"),
    ):
        asking.ask()
    answers, written = asking.ask()
    assert answers == whole.ask()[0]
    assert 0 < written < IN_ALL
