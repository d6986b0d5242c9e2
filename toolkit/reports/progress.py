"""How far a stage is: two lines that stay in place on a terminal, and come now and then in a log."""

import time
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from toolkit.reports.formatting import compact, duration, number, percent, size


class Progress:
    """The state of a stage that works through tokens; call it after every step.

    streams: the names of the FVE values. start_tokens: where a resumed run goes on; speed counts from there.
    notify: called after every step, with this object.
    """

    def __init__(
        self,
        label: str,
        total_tokens: int,
        streams: Sequence[str],
        start_tokens: int = 0,
        notify: "Callable[[Progress], None] | None" = None,
    ) -> None:
        self.label = label
        self.total_tokens = total_tokens
        self.streams = streams
        self.start_tokens = self.tokens = start_tokens
        self.started = time.perf_counter()
        self.state = ""
        self.notify = notify

    def __call__(
        self,
        tokens: int,
        *,
        fve: Sequence[float] = (),
        l0: float | None = None,
        dead_share: float | None = None,
        received: int = 0,
        stored: int = 0,
    ) -> None:
        """Take in that `tokens` are done in all, what the last step measured, and bytes from NDIF and in a cache."""
        self.tokens = tokens
        named = ", ".join(f"{name} {number(value)}" for name, value in zip(self.streams, fve, strict=False))
        measured = (
            f"FVE {named}" if named else "",
            f"L0 {number(l0)}" if l0 is not None else "",
            f"dead {percent(dead_share)}" if dead_share is not None else "",
            f"{size(received)} received" if received else "",
            f"{size(stored)} stored" if stored else "",
        )
        self.state = "   ".join(filter(None, measured))
        if self.notify is not None:
            self.notify(self)

    def summary(self) -> str:
        """Return tokens done, speed, and time left (time taken, at the end)."""
        elapsed = time.perf_counter() - self.started
        speed = (self.tokens - self.start_tokens) / max(elapsed, 1e-9)
        left = (self.total_tokens - self.tokens) / speed if speed else float("inf")
        when = f"{duration(left)} left" if self.tokens < self.total_tokens else f"took {duration(elapsed)}"
        done = f"{compact(self.tokens)} of {compact(self.total_tokens)} tokens"
        return f"{done}  {compact(speed)} tokens/s  {when}"

    def lines(self) -> str:
        """Return the state as plain text."""
        share = self.tokens / self.total_tokens if self.total_tokens else 1.0
        first = f"{self.label} {share:.0%}  {self.summary()}"
        return f"{first}\n    {self.state}" if self.state else first

    def __rich__(self) -> RenderableType:
        bar = ProgressBar(total=self.total_tokens, completed=self.tokens, complete_style="blue")
        row = Table.grid(padding=(0, 2, 0, 0), expand=True)
        row.add_column(no_wrap=True)
        row.add_column(ratio=1)  # the bar has what the words leave
        row.add_column(no_wrap=True)
        row.add_row(Text(self.label, style="bold"), bar, self.summary())
        return Group(row, Text(f"    {self.state}", style="dim"))
