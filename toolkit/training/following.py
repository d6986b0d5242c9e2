"""A training run taken to its end in front of a reader."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from toolkit.dictionaries.training import StepMetrics
from toolkit.harvest.activations import stream_names
from toolkit.reports.console import RunConsole
from toolkit.training.remote_use import forecast, traffic
from toolkit.training.training_run import TrainingRun


def follow(run: TrainingRun, console: RunConsole) -> None:
    """Take all steps with progress; say what is to come over the wire, and warn where the text ends early."""
    pair, training, start = run.pair, run.trainer.training, run.trainer.tokens_seen
    reading = run.reading_seconds["reading activations"]
    if run.config.where.remote and (reading or not run.config.feed.cache):  # with a cache, nothing may be to come
        console.note(forecast(pair, training.tokens - start, reading, run.ranks.size))
    if short := run.data_ended():  # a text smaller than the buffer
        console.warn(short)
    label = "training" if len(run.plans) == 1 else f"training {len(run.plans)} crosscoders"
    with console.progress(label, training.tokens, streams=stream_names(pair), start_tokens=start) as tick:
        for steps in run.steps():
            tick(steps[0].tokens, received=traffic(pair).received, **_figures(steps))
    if short := run.data_ended():
        console.warn(short)


def _figures(steps: Sequence[StepMetrics]) -> dict[str, Any]:
    """What is shown of one step: of several crosscoders the variance explained per stream, in the mean."""
    if len(steps) == 1:
        return {"fve": steps[0].fve, "l0": steps[0].l0, "dead_share": steps[0].dead_share}
    return {"fve": tuple(fmean(values) for values in zip(*(step.fve for step in steps), strict=True))}
