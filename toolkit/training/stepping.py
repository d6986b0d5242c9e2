"""Steps of a run that are recorded and saved as they are taken, and saved where it has to end."""

import signal
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn, TypeVar

from toolkit.command_line.interrupts import Interrupted, InterruptGuard
from toolkit.dictionaries.collectives import Ranks
from toolkit.training.saving import Saver, note_failure

Step = TypeVar("Step")
Read = TypeVar("Read")


def stepping(
    steps: Iterable[Step],
    *,
    record: Callable[[Step], None],
    save: Callable[[], None],
    saver: Saver,
    done: Callable[[], int],
    every: int,
    ranks: Ranks,
) -> Iterator[Step]:
    """Take the steps: each is recorded and yielded; `every` so many, and after the last, the run is saved.

    `done` returns how many steps were taken in all. `save` saves with `saver`: all that it began is written when the
    steps end, however they do. A checkpoint that could not be written is replaced by one of the step at which that is
    known, or by a second try of the same step where the run ends. Several ranks try once: they write together, and
    those that wrote cannot know that another failed. Raises `Interrupted` once a signal has come to any of the ranks
    and the run is saved; and what kept the latest checkpoint that was tried from being written.
    """
    with InterruptGuard() as interrupt, saver:
        for step in steps:
            record(step)
            yield step
            if number := ranks.highest(interrupt.received or 0):
                _stop(number, save, saver, done())
            if saver.has_failed or done() % every == 0:
                save()
        _save_to_the_end(save, saver)


def _save_to_the_end(save: Callable[[], None], saver: Saver) -> None:
    """Save, once more if that fails, and return when it is written."""
    save()
    saver.settle()
    if saver.has_failed:
        save()
    saver.wait()


def _stop(number: int, save: Callable[[], None], saver: Saver, step: int) -> NoReturn:
    """Save and raise `Interrupted`, or what kept the run from being saved."""
    try:
        _save_to_the_end(save, saver)
    except Exception as error:
        error.add_note(f"stopped by {signal.Signals(number).name}, not saved at step {step}")
        raise
    raise Interrupted(number, step)


def reading(
    read: Callable[[], Read], *, save: Callable[[], None], saver: Saver, done: Callable[[], int], ranks: Ranks
) -> Read:
    """Return what the next step takes; where a rank cannot read it, all save the steps that were taken.

    The error says at which step the run was saved, or why it was not; `save`, `saver` and `done` are as in `stepping`.
    """
    failure: Exception | None = None
    try:
        found = read()
    except Exception as error:  # raised below
        failure = error
    if not ranks.highest(int(failure is not None)):
        return found
    if done():
        _save_for(failure, save, saver, done())
    while failure is None:
        ranks.wait()  # fails once a process that could not read has said why, and is gone
    raise failure


def _save_for(failure: Exception | None, save: Callable[[], None], saver: Saver, step: int) -> None:
    """Save, and note on this rank's failure, if it is here that reading failed, what came of it."""
    try:
        _save_to_the_end(save, saver)
    except Exception as error:
        if failure is None:
            raise
        note_failure(failure, f"not saved at step {step}", error)
    else:
        if failure is not None:
            failure.add_note(f"saved at step {step}")
