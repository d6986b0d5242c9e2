"""Shows the progress of a stage: two lines in place on a terminal, one or two lines now and then in a log."""

import time
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from toolkit.formatting import compact, duration, number, percent, size
from toolkit.tracking import Pass


class Progress:
    """The state of one pass over things that are counted, tokens for one; call it after every step.

    total: how many there are, None where that is unknown. streams: the names of the FVE values. start: where a resumed
    run goes on; speed counts from there.
    """

    def __init__(
        self, label: str, total: int | None, streams: Sequence[str] = (), start: int = 0, unit: str = "tokens"
    ) -> None:
        self.label, self.total, self.streams, self.unit = label, total, streams, unit
        self.start = start
        self.done: float | int = start
        self.started = time.perf_counter()
        self.state = ""
        self.over = False
        """Whether no more is to come, although less was done than there was to do."""

    def __call__(
        self,
        done: int,
        *,
        fve: Sequence[float] = (),
        kl: float | None = None,
        l0: float | None = None,
        dead_share: float | None = None,
        received: int = 0,
        stored: int = 0,
    ) -> None:
        """Update the state: how many are done in all, the last step's measures, and bytes from NDIF and in a cache."""
        self.done = done
        named = ", ".join(f"{name} {number(value)}" for name, value in zip(self.streams, fve, strict=False))
        measured = (
            f"FVE {named}" if named else "",
            f"KL {number(kl)}" if kl is not None else "",
            f"L0 {number(l0)}" if l0 is not None else "",
            f"dead {percent(dead_share)}" if dead_share is not None else "",
            f"{size(received)} received" if received else "",
            f"{size(stored)} stored" if stored else "",
        )
        self.state = "   ".join(filter(None, measured))

    @property
    def seconds(self) -> float:
        """Time since it began."""
        return time.perf_counter() - self.started

    def summary(self) -> str:
        """Return how many are done, speed, and time left (time taken, at the end)."""
        elapsed = self.seconds
        speed = (self.done - self.start) / max(elapsed, 1e-9)
        count = compact(int(self.done))
        if self.total is not None:
            count = f"{compact(int(min(self.done, self.total)))} of {compact(self.total)}"
        if self.over or (self.total is not None and self.done >= self.total):
            when = f"took {duration(elapsed)}"
        elif self.total is None:
            when = f"{duration(elapsed)} so far"
        else:
            when = f"{duration((self.total - self.done) / speed if speed else float('inf'))} left"
        pace = f"{duration(1 / speed)} each" if 0 < speed < 1 else f"{compact(speed)} {self.unit}/s"
        return f"{count} {self.unit}  {pace}  {when}"

    def lines(self) -> str:
        """Return the state as plain text."""
        share = "" if self.total is None else f" {self._share():.0%}"
        first = f"{self.label}{share}  {self.summary()}"
        return f"{first}\n    {self.state}" if self.state else first

    def _share(self) -> float:
        return min(1.0, self.done / self.total) if self.total else 1.0

    def __rich__(self) -> RenderableType:
        bar = ProgressBar(total=None if self.total is None else 1.0, completed=self._share(), complete_style="blue")
        row = Table.grid(padding=(0, 2, 0, 0), expand=True)
        row.add_column(no_wrap=True)
        row.add_column(ratio=1)  # the bar has what the words leave
        row.add_column(no_wrap=True)
        row.add_row(Text(self.label, style="bold"), bar, self.summary())
        return Group(row, Text(f"    {self.state}", style="dim")) if self.state else row


class StageProgress:
    """The progress of a stage: how much of its outermost pass is done, or how long the stage has taken.

    It watches the passes of the thread that works; `lines` and `__rich__` may be asked for in any thread.
    finished: is called with each outermost pass that has ended.
    say: is called with each line that is to be read before the work is done.
    """

    def __init__(self, name: str, finished: Callable[[Progress], None], say: Callable[[str], None]) -> None:
        self.name, self._finished, self.say = name, finished, say
        self._started = time.perf_counter()
        self._passes: list[Pass] = []
        self._outermost: Progress | None = None

    @property
    def seconds(self) -> float:
        """Time since it began."""
        return time.perf_counter() - self._started

    def begin(self, work: Pass) -> None:
        """Record that a pass begins."""
        if not self._passes:
            self._outermost = Progress(f"{self.name}: {work.what}", work.total, unit=work.unit)
        self._passes.append(work)

    def end(self, work: Pass) -> None:
        """Record that a pass has ended, and with it the passes inside it that were left early."""
        if work not in self._passes:
            return
        place = self._passes.index(work)
        del self._passes[place:]
        if place == 0 and self._outermost is not None:
            outermost, self._outermost = self._outermost, None
            outermost.done, outermost.over, outermost.state = work.done, True, ""
            self._finished(outermost)

    def lines(self) -> str:
        """Return the state as one line."""
        now = self._now()
        return now.lines().partition("\n")[0] if now else f"{self.name}  {duration(self.seconds)} so far"

    def __rich__(self) -> RenderableType:
        return self._now() or Text(f"{self.name}  {duration(self.seconds)} so far", style="bold")

    def _now(self) -> Progress | None:
        """The outermost pass as it stands, with what is done of those inside; None between passes."""
        outermost, passes = self._outermost, tuple(self._passes)
        if outermost is None or not passes:
            return None
        outermost.done = max(outermost.done, _done(passes))  # one thing may take several passes, one after the other
        outermost.state = ", ".join(_count(each) for each in passes[1:])
        return outermost


def _done(passes: Sequence[Pass]) -> float | int:
    """How much of the first pass is done, a share of its current item by the passes inside."""
    first, *inside = passes
    if not inside or not inside[0].total:
        return first.done
    return first.done + first.current * min(1.0, _done(inside) / inside[0].total)


def _count(work: Pass) -> str:
    return f"{work.what} {compact(work.done)}" + ("" if work.total is None else f" of {compact(work.total)}")
