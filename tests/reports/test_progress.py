import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from toolkit.reports import progress as module
from toolkit.reports.progress import Progress, StageProgress
from toolkit.tracking import track, watched_by


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
    progress = Progress("training", 1_000_000, (), start=900_000)
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


def test_it_fits_eighty_columns(clock: list[float]) -> None:
    progress = Progress("harvest and train", 400_000_000, ("base", "distilled"))
    clock[0] += 10_000
    progress(123_456_789, fve=(0.948, 0.944), l0=113.9, dead_share=0.12, received=123_400_000_000)
    console = Console(file=io.StringIO(), width=80)
    console.print(progress)
    assert len(console.file.getvalue().splitlines()) == 2
    assert max(map(len, progress.lines().splitlines())) <= 80


def test_slow_things_are_told_by_the_time_of_each(clock: list[float]) -> None:
    progress = Progress("sweep", 5, unit="crosscoders")
    clock[0] += 60
    progress(2)
    assert progress.lines() == "sweep 40%  2 of 5 crosscoders  30.0 s each  1:30 left"


def test_a_total_that_nobody_knows_promises_no_end(clock: list[float]) -> None:
    progress = Progress("laying out", None, unit="texts")
    clock[0] += 60
    progress(1200)
    assert progress.lines() == "laying out  1.20k texts  20 texts/s  1:00 so far"
    assert "1.20k texts" in drawn(progress)


def test_more_than_was_asked_for_is_all(clock: list[float]) -> None:
    progress = Progress("reading", 1000)
    clock[0] += 10
    progress(1040)
    assert progress.lines() == "reading 100%  1.00k of 1.00k tokens  104 tokens/s  took 10.0 s"


def drawn(state: Progress | StageProgress) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(state)
    return console.file.getvalue()


@pytest.fixture
def finished() -> list[str]:
    """What a stage said of passes that are over."""
    return []


@pytest.fixture
def stage(clock: list[float], finished: list[str]) -> Iterator[StageProgress]:
    stage = StageProgress("ablation", finished=lambda progress: finished.append(progress.lines()), say=finished.append)
    with watched_by(stage):
        yield stage


def test_a_stage_tells_its_time_before_and_after_its_passes(stage: StageProgress, clock: list[float]) -> None:
    clock[0] += 5
    assert stage.lines() == "ablation  5.0 s so far"
    list(track([1, 2], "reading", "batches"))
    clock[0] += 60
    assert stage.lines() == "ablation  1:05 so far"
    assert "1:05 so far" in drawn(stage)


def test_a_pass_is_told_with_its_count_rate_and_time_left(
    stage: StageProgress, clock: list[float], finished: list[str]
) -> None:
    said = []
    for _ in track([300, 500, 200], "reading text", "tokens", total=1000, size=int):
        said.append(stage.lines())
        clock[0] += 10
    assert said[2] == "ablation: reading text 80%  800 of 1.00k tokens  40 tokens/s  5.0 s left"
    assert finished == ["ablation: reading text 100%  1.00k of 1.00k tokens  33 tokens/s  took 30.0 s"]


def test_passes_inside_count_for_the_share_that_is_done(stage: StageProgress, clock: list[float]) -> None:
    said = []
    for _ in track(["a", "b"], "taking out", "categories"):
        for _ in track([1, 2], "models", "models"):
            for _ in track([1, 2], "batches", "batches"):
                clock[0] += 1
                said.append(stage.lines())
    assert [line.split()[3] for line in said] == ["0%", "12%", "25%", "38%", "50%", "62%", "75%", "88%"]
    assert said[5] == "ablation: taking out 62%  1 of 2 categories  4.8 s each  3.6 s left"


def test_a_terminal_shows_the_passes_inside(stage: StageProgress) -> None:
    for _ in track(["a", "b"], "taking out", "categories"):
        for _ in track([1, 2, 3], "edits", "edits"):
            shown = drawn(stage)
    assert "1 of 2 categories" in shown
    assert "edits 2 of 3" in shown


def test_several_passes_inside_one_after_the_other_never_go_back(stage: StageProgress) -> None:
    shares = []
    for _ in track(["a", "b"], "classes", "classes"):
        for _ in range(2):
            shares += [stage.lines().split()[2] for _ in track([1, 2], "shuffles", "shuffles")]
    assert shares == ["0%", "25%", "25%", "25%", "50%", "75%", "75%", "75%"]


def test_a_pass_that_is_left_before_its_end_is_over(stage: StageProgress, finished: list[str]) -> None:
    counted = track([1, 2, 3], "reading", "batches")
    next(counted)
    inside = track([1, 2], "edits", "edits")
    next(inside)
    counted.close()
    inside.close()
    assert finished == ["ablation: reading 0%  0 of 3 batches  0 batches/s  took 0.0 s"]
    assert stage.lines().endswith("so far")
