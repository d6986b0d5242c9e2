"""Steps of a run that are recorded and saved as they are taken."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from toolkit.command_line.interrupts import Interrupted, InterruptGuard
from toolkit.dictionaries.collectives import Ranks
from toolkit.training.saving import Saver

Step = TypeVar("Step")


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
    steps end, however they do. Raises `Interrupted` once a signal has come to any of the ranks and the run is saved;
    and what kept a checkpoint from being written, after the step at which that is known.
    """
    with InterruptGuard() as interrupt, saver:
        for step in steps:
            record(step)
            yield step
            saver.check()
            stop = ranks.highest(interrupt.received or 0)
            if stop or done() % every == 0:
                save()
            if stop:
                saver.wait()
                raise Interrupted(stop, done())
        save()
