"""Processes that compare answers by math-verify, each with a limit of time."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import LifoQueue
from threading import Timer
from time import monotonic
from types import TracebackType
from typing import NamedTuple

from toolkit.answers import symbolic_worker

LIMIT = 10.0
START_LIMIT = 120.0
MOST_PROCESSES = 4


class Judgement(NamedTuple):
    """What math-verify says of an answer."""

    same: bool
    reason: str | None
    """Why it could not be compared."""


class SymbolicComparison:
    """Compares answers by math-verify in processes that start with the first answers and end with the `with` block.

    math-verify's own limits of time raise in threads, and sympy can hang in spite of them. So a process that takes
    longer than `limit` seconds for an answer, or that ends, costs this answer; another process goes on. Processes are
    started as a script of their own: they hold no model, import no caller's main module, and work in notebooks.
    """

    def __init__(self, *, limit: float = LIMIT) -> None:
        self.limit = limit
        self._workers = [_Worker() for _ in range(min(MOST_PROCESSES, os.cpu_count() or 1))]
        self._idle: LifoQueue[_Worker] = LifoQueue()  # the one used last is ready, while others may not have started
        for worker in self._workers:
            self._idle.put(worker)

    def __enter__(self) -> "SymbolicComparison":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def processes(self) -> int:
        """Number of processes that run."""
        return sum(worker.runs for worker in self._workers)

    def judge_each(self, pairs: Iterable[tuple[str, str]]) -> list[Judgement]:
        """Judge pairs of an answer and the right one, both in LaTeX."""
        with ThreadPoolExecutor(len(self._workers)) as threads:
            return list(threads.map(self._judge, pairs))

    def _judge(self, pair: tuple[str, str]) -> Judgement:
        worker = self._idle.get()
        try:
            return worker.judge(pair, self.limit)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.stop()


class _Worker:
    """A process that judges one pair at a time; it starts with the first, and again after one that cost it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    @property
    def runs(self) -> bool:
        return self._process is not None

    def judge(self, pair: tuple[str, str], limit: float) -> Judgement:
        if self._process is None:
            self._start()
        begun = monotonic()
        if line := self._ask(json.dumps(pair), limit):
            return Judgement(*json.loads(line))
        self.stop()
        slow = monotonic() - begun >= limit
        return Judgement(False, f"math-verify took longer than {limit:g} s" if slow else "math-verify crashed")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> None:
        # -P: the script's folder holds modules whose names must not hide those of libraries.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(symbolic_worker.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        if not self._ask("", START_LIMIT):
            self.stop()
            raise RuntimeError("math-verify does not start: try python -c 'import math_verify'")

    def _ask(self, question: str, limit: float) -> str:
        """The line that the process answers a question with; empty where it ends before, or is ended at the limit."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        timer = Timer(limit, process.kill)
        timer.start()
        try:
            if question:
                print(question, file=process.stdin, flush=True)
            return process.stdout.readline()
        except BrokenPipeError:
            return ""
        finally:
            timer.cancel()
