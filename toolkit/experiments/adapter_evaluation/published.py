"""The published adapters of the pair of 7B parameters, as a table to stand beside one's own."""

from pathlib import Path
from typing import Any

from toolkit.artifacts import read_json_object
from toolkit.reports.findings import Cell, Table

PUBLISHED = Path(__file__).parents[2] / "data" / "published" / "adapter.json"


def published_table() -> Table:
    """The five published adapters, with what is said of them."""
    content = read_json_object(PUBLISHED)
    return Table(
        title=f"Published adapters ({content['pair']})",
        columns=("L0", "accuracy recovered", "length", "hybrid's length", '"wait" per 1,000'),
        rows=[_row(each) for each in content["adapters"]],
        note=f"{content['source']}. {content['measure']}.",
    )


def _row(adapter: dict[str, Any]) -> list[Cell]:
    low, high = adapter.get("recovered", (None, None))
    said = None if low is None else f"{low:.0%} to {high:.0%}"
    return [
        f"{adapter['l0']}",
        said,
        adapter.get("length"),
        adapter.get("length_hybrid"),
        adapter.get("wait_per_1k"),
    ]
