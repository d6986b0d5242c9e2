import os
import signal

import pytest

from toolkit.command_line.interrupts import Interrupted, InterruptGuard

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@SIGNALS
def test_the_first_signal_is_noted_and_the_second_acts_as_before(number: signal.Signals) -> None:
    reached: list[int] = []
    before = signal.signal(number, lambda received, _: reached.append(received))
    try:
        with InterruptGuard() as guard:
            assert guard.received is None
            os.kill(os.getpid(), number)
            assert (guard.received, reached) == (number, [])
            os.kill(os.getpid(), number)
            assert reached == [number]
    finally:
        signal.signal(number, before)


@SIGNALS
def test_under_a_launcher_which_repeats_signals_all_are_noted(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    reached: list[int] = []
    before = signal.signal(number, lambda received, _: reached.append(received))
    try:
        with InterruptGuard() as guard:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            assert (guard.received, reached) == (number, [])
    finally:
        signal.signal(number, before)


@SIGNALS
def test_leaving_puts_the_handlers_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with InterruptGuard():
        assert signal.getsignal(number) != before
    assert signal.getsignal(number) == before


def test_the_exit_code_is_128_and_the_signal() -> None:
    stop = Interrupted(signal.SIGTERM, step=7)
    assert stop.exit_code == 143
    assert str(stop) == "stopped by SIGTERM, saved at step 7"
