"""What a run on NDIF says of it: how much comes over the wire, how fast, and what the wire's type costs."""

from typing import Any

from toolkit.formatting import compact, duration, size
from toolkit.harvest.cache_shards import bytes_a_token
from toolkit.models.model_set import ModelSet
from toolkit.models.places.place import Place, Traffic


def traffic(models: ModelSet) -> Traffic:
    """What went over the wire for all models in this session: nothing where they run here."""
    return sum((model.place.traffic for model in models.models.values()), Traffic())


def remote_record(models: ModelSet) -> dict[str, Any]:
    """For a run's metadata: server, wire type, and this session's bytes, retries and wire error; empty for models here.

    `wire_error` is the squared error of all activations relative to their square.
    """
    place = _place(models)
    if place.server is None:
        return {}
    total = traffic(models)
    where = {"host": place.server, "wire": place.wire, "wire_error": total.wire_error}
    numbers = {"jobs": total.jobs, "retries": total.retries, "bytes_sent": total.sent, "bytes_received": total.received}
    return {"remote": where | numbers}


def forecast(models: ModelSet, tokens: int, seconds_reading: float, processes: int = 1) -> str:
    """One line before a long run: the bytes of `tokens` to come, and their time at the rate of what came so far.

    What came so far filled the buffer, and was read ahead: it is not among what is to come. Each of the `processes` of
    the run reads its part at this process's rate.
    """
    place, streams = _place(models), len(models.names) * len(models.layers)
    wire = place.wire
    assert wire is not None, "models here have none"
    coming = tokens * bytes_a_token(wire, streams, models.d_model)
    line = (
        f"NDIF at {place.server}: {compact(tokens)} tokens × {streams} streams × {models.d_model} numbers as"
        f" {wire} are {size(coming)} to receive"
    )
    if seconds_reading > 0:
        received = traffic(models).received
        seconds = coming / processes * seconds_reading / received
        line += f", in {duration(seconds)} at the rate of the first {size(received)}"
    return line


def _place(models: ModelSet) -> Place:
    """Where all of them run: on one server, or here."""
    return next(iter(models.models.values())).place
