"""A file that keeps every answer as soon as it has ended, so that none is written twice.

Each line is a JSON object. One says what the answers belong to: settings, and of each arm its model's fingerprint and a
digest of its edit. The others are answers, in any order. A line that a kill left unfinished is dropped.
"""

import fcntl
import json
import operator
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from toolkit.answers.answering import Answerer, Row, write_each
from toolkit.answers.arm_identity import edit_digest
from toolkit.answers.questions import Question
from toolkit.answers.records import Written
from toolkit.artifacts import digest, explaining_a_full_disk
from toolkit.models.model.sampling import Sampling
from toolkit.outputs import WHOLE

SYNCED = 5.0
"""Seconds after which lines are forced to the disk: a kill loses no line, a power failure at most those since then."""
BELONGS = "answers of"

Facts = Mapping[str, Any]
Key = tuple[str, str, int, int | None, int | None]


class AnswerLog:
    """The answers of one file, and those that are added to it; made by `open_log`."""

    def __init__(self, path: Path, *, greedy: bool) -> None:
        self.path = path
        self.belongs: list[Facts] = []
        """What the lines of the file say that its answers belong to."""
        self._answers: dict[Key, list[int]] = {}
        self._greedy = greedy
        self._file = path.open("ab", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.truncate(self._read())
        except BlockingIOError:
            self.close()
            raise ValueError(f"another process writes to {path}: wait for it, or give --out another folder") from None
        except ValueError:
            self.close()
            raise
        self._synced = time.monotonic()

    def _read(self) -> int:
        """Take what the file holds, and return its length without an unfinished last line."""
        end = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                try:
                    self._take(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(
                        f"{self.path}, line {number:,} is no answer: delete the line, or give --out another folder"
                    ) from error
        return end

    def _take(self, line: Any) -> None:
        if BELONGS in line:
            self.belongs.append({"settings": dict(line[BELONGS]["settings"]), "arms": dict(line[BELONGS]["arms"])})
        else:
            key = (line["arm"], line["prompt"], line["sample"], line["seed"], line["budget"])
            self._answers[key] = [*map(operator.index, line["token_ids"])]

    def kept(self, row: Row) -> list[int] | None:
        """Return the ids that were written for a row; None where none were."""
        return self._answers.get(self._key(row))

    def keep(self, row: Row, question: Question, written: Written) -> None:
        """Add an answer; raises `DiskFullError` where the disk has too little room."""
        arm, prompt, sample, seed, budget = key = self._key(row)
        place = {"arm": arm, "question": question.question, "prompt": prompt, "sample": sample, "seed": seed}
        self.append({**place, "budget": budget, "text": written.text, "token_ids": written.token_ids})
        self._answers[key] = list(written.token_ids)

    def append(self, line: Facts) -> None:
        """Write a line; raises as `keep`."""
        rest = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        with explaining_a_full_disk(self.path.parent, lambda: f"; {WHOLE}"):
            while rest:  # of a line that is larger than what is left of the disk a part is written
                rest = rest[self._file.write(rest) :]
        if time.monotonic() - self._synced > SYNCED:
            self.sync()

    def sync(self) -> None:
        """Wait until all lines are on the disk."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Write no more."""
        self._file.close()

    def _key(self, row: Row) -> Key:
        seed = None if self._greedy else row.seed  # chance has no part in a greedy answer
        return row.arm, digest(list(row.prompt))[:16], row.sample, seed, row.budget


@contextmanager
def open_log(path: Path, arms: Mapping[str, Answerer], settings: Facts, *, greedy: bool) -> Iterator[AnswerLog]:
    """Open the file of answers of these arms under these settings, or begin one.

    A file that has other arms, questions or samples as well, or not all of them, is gone on with. Raises `ValueError`
    for a file of other settings, or where an arm of this name is another model or another edit; it says which.
    """
    ours = {name: {"model": arm.fingerprint, "edit": edit_digest(arm.edit)} for name, arm in arms.items()}
    settings = json.loads(json.dumps(settings))  # as the file gives them back
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(AnswerLog(path, greedy=greedy)) as log:
        known: dict[str, Facts] = {}
        for found in log.belongs:
            if differing := _differences(found, settings, ours):
                raise ValueError(
                    f"{path} keeps other answers ({'; '.join(differing)}): give the settings that they were written"
                    " with, or --out another folder"
                )
            known |= found["arms"]
        if new := {name: arm for name, arm in ours.items() if name not in known}:
            log.append({BELONGS: {"settings": settings, "arms": new}})
        yield log
        log.sync()


def _differences(found: Facts, settings: Facts, ours: Mapping[str, Facts]) -> list[str]:
    theirs = found["settings"]
    changed = [
        f"{name} {theirs.get(name)!r:.60} there, {settings.get(name)!r:.60} here"
        for name in dict.fromkeys([*theirs, *settings])
        if theirs.get(name) != settings.get(name)
    ]
    other = [
        f"arm {name!r} is another {what} there"
        for name, arm in found["arms"].items()
        for what in arm
        if name in ours and arm[what] != ours[name][what]
    ]
    return changed + other


def write_missing(
    log: AnswerLog | None,
    arms: Mapping[str, Answerer],
    rows: Sequence[Row],
    sampling: Sampling,
    questions: Sequence[Question],
) -> tuple[list[Written], int]:
    """Return the answers of all rows in their order, and how many of them were written now; the log gets those.

    A kept answer is taken from the log. Without one all are written.
    """
    kept = {number: ids for number, row in enumerate(rows) if log and (ids := log.kept(row)) is not None}
    missing = [row for number, row in enumerate(rows) if number not in kept]
    written: dict[int, Written] = {}
    for row, answer in write_each(arms, missing, sampling):
        if log:
            log.keep(row, questions[row.question], answer)
        written[id(row)] = answer
    found = [
        row.written(kept[number], arms[row.arm].model.tokenizer.decode(kept[number]))
        if number in kept
        else written[id(row)]
        for number, row in enumerate(rows)
    ]
    return found, len(missing)
