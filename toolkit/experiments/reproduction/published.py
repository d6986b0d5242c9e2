"""Figures that papers report, to set beside one's own."""

import json
from pathlib import Path
from typing import Any, Literal

PUBLISHED = Path(__file__).parents[2] / "data" / "published"


def load_published(measure: Literal["ablation", "crosscoder", "parallelogram"]) -> dict[str, Any]:
    """Read the published means of one measure; `source` and `measure` say where they are from and what they are."""
    content: dict[str, Any] = json.loads((PUBLISHED / f"{measure}.json").read_text(encoding="utf-8"))
    return content
