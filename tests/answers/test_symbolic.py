"""Processes that compare answers by math-verify: hanging, crashing, from threads, and without a caller's modules."""

import signal
import subprocess
import sys
from threading import Thread

import pytest

from toolkit.answers import symbolic
from toolkit.answers.symbolic import Judgement, SymbolicComparison

HANGS = "9^{9^{9^{9}}}"


def test_a_hanging_answer_is_cut_by_the_limit_and_the_next_one_is_judged(monkeypatch) -> None:
    monkeypatch.setattr(symbolic, "MOST_PROCESSES", 1)
    with SymbolicComparison(limit=2.0) as comparison:
        judged = comparison.judge_each([("2^2", "4"), (HANGS, "4"), ("2^2", "4"), ("2^2", "5")])
        same, different = Judgement(True, None), Judgement(False, None)
        assert judged == [same, Judgement(False, "math-verify took longer than 2 s"), same, different]
    assert comparison.processes == 0


def test_a_process_that_ends_costs_its_answer_alone() -> None:
    with SymbolicComparison() as comparison:
        same = [Judgement(True, None)]
        assert comparison.judge_each([("x+x", "2x")]) == same
        worker = comparison._workers[-1]._process
        assert worker is not None
        worker.kill()
        assert comparison.judge_each([("x+x", "2x")]) == [Judgement(False, "math-verify crashed")]
        assert comparison.judge_each([("x+x", "2x")]) == same


def test_processes_start_with_the_first_answer_and_end_with_the_block() -> None:
    with SymbolicComparison() as comparison:
        assert comparison.processes == 0
        assert comparison.judge_each([]) == []
        assert comparison.processes == 0
        assert comparison.judge_each([("x+x", "2x")]) == [Judgement(True, None)]
        worker = comparison._workers[-1]._process
        assert worker is not None
        worker.send_signal(signal.SIGINT)  # as Ctrl-C does, which the caller may handle
        assert comparison.judge_each([("x+y", "y+x")]) == [Judgement(True, None)]
        assert comparison.processes == 1
        assert comparison._workers[-1]._process is worker
    assert comparison.processes == 0
    assert worker.poll() is not None


def test_answers_are_judged_in_a_thread() -> None:
    judged: list[Judgement] = []
    with SymbolicComparison() as comparison:
        thread = Thread(target=lambda: judged.extend(comparison.judge_each([("x+x", "2x")])))
        thread.start()
        thread.join()
    assert judged == [Judgement(True, None)]


def test_a_caller_that_is_no_module_and_has_no_guard_judges_too() -> None:
    script = (
        "from toolkit.answers.symbolic import SymbolicComparison\n"
        "with SymbolicComparison() as comparison: print(comparison.judge_each([('x+x', '2x')])[0].same)"
    )
    said = subprocess.run([sys.executable], input=script, capture_output=True, text=True, check=True)
    assert said.stdout == "True\n"


def test_a_process_that_cannot_start_is_an_error(monkeypatch, tmp_path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(1)")
    monkeypatch.setattr(symbolic.symbolic_worker, "__file__", str(broken))
    with SymbolicComparison() as comparison, pytest.raises(RuntimeError, match="math-verify does not start"):
        comparison.judge_each([("x", "y")])
