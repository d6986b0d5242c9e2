"""Findings as JSON that gives the same findings again: numbers to the last bit, figures as they were drawn."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from matplotlib.figure import Figure

from toolkit.reports.findings import Chart, Findings, Headline, SideBySide, Table
from toolkit.reports.svg import Drawing, draw
from toolkit.statistics import Estimate

KIND = "kind"  # the key that tells a stored object from a mapping of results
STORED: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Findings, Headline, Table, Chart, Drawing, SideBySide, Estimate)
}


def stored(content: Any) -> Any:
    """Return findings, or a part of them, as strict JSON holds them; tuples become lists."""
    if isinstance(content, Figure):
        content = draw(content)
    kind = STORED.get(type(content).__name__)
    if kind is not None and isinstance(content, kind):
        return {KIND: kind.__name__} | {each.name: stored(getattr(content, each.name)) for each in fields(kind)}
    if isinstance(content, Mapping):
        assert all(isinstance(key, str) and key != KIND for key in content), (
            f"keys that JSON would change: {[*content]}"
        )
        return {key: stored(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [stored(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return {KIND: "float", "value": str(content)}
    return content


def restored(content: Any) -> Any:
    """Return what `stored` was given; raises `ValueError` for what it did not give."""
    if isinstance(content, list):
        return [restored(value) for value in content]
    if not isinstance(content, dict):
        return content
    values = {key: restored(value) for key, value in content.items() if key != KIND}
    kind = content.get(KIND)
    if kind is None:
        return values
    if kind == "float":
        return float(values["value"])
    try:
        return STORED[kind](**{key: tuple(each) if isinstance(each, list) else each for key, each in values.items()})
    except (KeyError, TypeError) as error:
        raise ValueError(f"no stored findings: {kind!r} of {', '.join(values)} ({error})") from error


def read_findings(content: Any) -> Findings:
    """Return stored findings; raises `ValueError` for anything else."""
    found = restored(content)
    if not isinstance(found, Findings):
        raise ValueError(f"no stored findings, but {type(found).__name__}")
    return found
