"""Steps of a run that are recorded and saved as they are taken."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from toolkit.command_line.interrupts import Interrupted, InterruptGuard
from toolkit.dictionaries.collectives import Ranks

Step = TypeVar("Step")


def stepping(
    steps: Iterable[Step],
    *,
    record: Callable[[Step], None],
    save: Callable[[], None],
    done: Callable[[], int],
    every: int,
    ranks: Ranks,
) -> Iterator[Step]:
    """Take the steps: each is recorded and yielded; `every` so many, and after the last, the run is saved.

    `done` returns how many steps were taken in all. Raises `Interrupted` once a signal has come to any of the ranks;
    the run is saved then.
    """
    with InterruptGuard() as interrupt:
        for step in steps:
            record(step)
            yield step
            stop = ranks.highest(interrupt.received or 0)
            if stop or done() % every == 0:
                save()
            if stop:
                raise Interrupted(stop, done())
        save()
