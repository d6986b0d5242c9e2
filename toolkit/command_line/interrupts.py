"""Ctrl-C and SIGTERM end a run at the next step, not in the middle of one."""

import signal
from types import FrameType

from toolkit.models.places.processes import n_processes


class Interrupted(Exception):  # noqa: N818
    """A signal asked the run to end; its state is saved."""

    def __init__(self, signal_number: int, step: int) -> None:
        self.exit_code = 128 + signal_number
        self.step = step
        super().__init__(f"stopped by {signal.Signals(signal_number).name}, saved at step {step}")


class InterruptGuard:
    """While entered, the first SIGINT or SIGTERM is noted; a second one kills as usual.

    Where a launcher started several processes all are noted: it passes on signals that have come already.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._launched = n_processes() > 1
        self._previous: dict[int, signal._HANDLER] = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = number
        if not self._launched:
            signal.signal(number, self._previous[number])

    def __enter__(self) -> "InterruptGuard":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.getsignal(number)
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
