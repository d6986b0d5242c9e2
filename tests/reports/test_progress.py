import io

import pytest
from rich.console import Console

from toolkit.reports import progress as module
from toolkit.reports.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that progress sees, as a list of one."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_lines_tell_share_speed_time_left_and_measures(clock: list[float]) -> None:
    progress = Progress("training", 1_000_000, ("base", "distilled"))
    clock[0] += 10
    progress(200_000, fve=(0.948, 0.9441), l0=13.94, dead_share=0.021)
    assert progress.lines() == (
        "training 20%  200k of 1.00M tokens  20.0k tokens/s  40.0 s left\n"
        "    FVE base 0.948, distilled 0.944   L0 13.9   dead 2.1 %"
    )


def test_bytes_received_are_told(clock: list[float]) -> None:
    progress = Progress("training", 1_000_000, ("base", "distilled"))
    clock[0] += 10
    progress(200_000, fve=(0.948, 0.9441), l0=13.94, dead_share=0.121, received=1_240_000_000)
    assert progress.lines().endswith("L0 13.9   dead 12.1 %   1.24 GB received")


def test_speed_of_a_resumed_run_counts_what_it_did_itself(clock: list[float]) -> None:
    progress = Progress("training", 1_000_000, (), start_tokens=900_000)
    clock[0] += 10
    progress(950_000)
    assert progress.lines() == "training 95%  950k of 1.00M tokens  5.00k tokens/s  10.0 s left"


def test_the_end_tells_the_time_taken(clock: list[float]) -> None:
    progress = Progress("evaluating", 5000, ())
    clock[0] += 75
    progress(5000)
    assert progress.lines().endswith("took 1:15")


def test_nothing_done_yet_promises_no_time() -> None:
    assert Progress("training", 10, ()).lines().endswith("0 tokens/s  – left")


def test_a_listener_hears_of_every_step() -> None:
    heard = []
    progress = Progress("training", 10, (), notify=lambda state: heard.append(state.tokens))
    progress(3)
    progress(6)
    assert heard == [3, 6]


def test_it_fits_eighty_columns(clock: list[float]) -> None:
    progress = Progress("harvest and train", 400_000_000, ("base", "distilled"))
    clock[0] += 10_000
    progress(123_456_789, fve=(0.948, 0.944), l0=113.9, dead_share=0.12, received=123_400_000_000)
    console = Console(file=io.StringIO(), width=80)
    console.print(progress)
    assert len(console.file.getvalue().splitlines()) == 2
    assert max(map(len, progress.lines().splitlines())) <= 80
