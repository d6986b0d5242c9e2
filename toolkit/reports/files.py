"""Writes findings as files: a page, figures as PNG, every number as JSON; and whole, so that they can be read again."""

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from toolkit.artifacts import write_json
from toolkit.outputs import Claim as FilesClaim
from toolkit.outputs import OutputFolder, findings_claim
from toolkit.reports.console import RunConsole
from toolkit.reports.drawing import Drawing, draw, save_pngs
from toolkit.reports.findings import Chart, Findings, Headline, Share, SideBySide, Table
from toolkit.reports.page import render_page
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.verdicts import Claim, Margin

KIND = "kind"  # the key that tells a stored object from a mapping of results
STORED: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Findings, Headline, Table, Chart, Drawing, SideBySide, Estimate, Share, Claim, Margin)
}


def publish(folder: Path, console: RunConsole, findings: Findings) -> None:
    """Save findings in `folder`, and show them in the terminal."""
    page = findings.save(folder)
    console.findings(findings)
    console.note(f"page: {page}")


def save_findings(findings: Findings, folder: Path) -> Path:
    """Save findings as `Findings.save` describes."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {f"{findings.name}_{chart.slug}": chart.figure for chart in findings.charts}
    page, numbers = f"{findings.name}.html", f"{findings.name}.json"
    outputs = OutputFolder(folder, (findings_claim(findings.name), FilesClaim(files=tuple(findings.files))))
    with outputs.writing(page, numbers, *(f"figures/{name}.png" for name in figures), *findings.files):
        for name, data in findings.files.items():
            (folder / name).write_bytes(data)
        content = {"question": findings.question, "results": findings.results, "provenance": findings.provenance}
        write_results(folder / numbers, content)
        save_pngs(folder / "figures", {name: each for name, each in figures.items() if isinstance(each, Figure)})
        return write_page(folder / page, findings, numbers)


def write_page(path: Path, findings: Findings, numbers: str) -> Path:
    """Write the page alone; `numbers` is the file beside it that holds every number."""
    path.write_text(render_page(findings, numbers), encoding="utf-8")
    return path


def write_results(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON in one move: an `Estimate` as {"value", "low", "high"} with its note; not finite is null."""
    write_json(path, as_results(content))


def as_results(content: Any) -> Any:
    """Return content as strict JSON holds it; see `write_results`."""
    if isinstance(content, Estimate):
        ends = {"value": content.value, "low": content.low, "high": content.high}
        return as_results(ends | ({"note": content.note} if content.note else {}))
    if isinstance(content, Mapping):
        return {key: as_results(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [as_results(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def stored(content: Any) -> Any:
    """Return findings, or a part of them, as values of strict JSON; tuples become lists."""
    if isinstance(content, Figure):
        content = draw(content)
    kind = STORED.get(type(content).__name__)
    if kind is not None and isinstance(content, kind):
        return {KIND: kind.__name__} | {each.name: stored(getattr(content, each.name)) for each in fields(kind)}
    if isinstance(content, Mapping):
        assert KIND not in content, f"{KIND!r} is a key among {[*content]}, by which stored findings are known"
        return {key: stored(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [stored(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return {KIND: "float", "value": str(content)}
    return content


def restored(content: Any) -> Any:
    """Return the findings that `stored` turned into JSON; raises `ValueError` for anything else."""
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
