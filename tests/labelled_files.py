"""The organism's labelled answers as a file, as recipes take one."""

import json
from itertools import islice
from pathlib import Path

from toolkit.organism.corpus import documents


def write_answers(path: Path, n: int, *, seed: int = 23) -> Path:
    """Write held-out thinking answers, one record a line, with the spans of their behaviours; returns the path."""
    records = [
        {
            "text": document.text,
            "spans": [{"start": s.start, "end": s.end, "label": s.behaviour} for s in document.spans],
        }
        for document in islice(documents("thinking", split="held_out", seed=seed), n)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
