"""How much text records gave, how long its documents are, and what was left out."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from toolkit.artifacts import sha256
from toolkit.experiments.prepared_data import SPLITS, PrepareConfig
from toolkit.experiments.prepared_data.measure import PreparedData
from toolkit.harvest.local_files import local_files
from toolkit.reports.figures import length_bins, length_histogram
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table
from toolkit.tracking import track

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def page(settings: PrepareConfig, opened: None, found: PreparedData) -> Findings:
    """How many texts there are, how long they are, and what was left out."""
    every = np.array([length for split in SPLITS for length in found.lengths[split]])
    statistics = {"all": _statistics(every)} | {
        split: _statistics(np.array(lengths)) for split, lengths in found.lengths.items() if lengths
    }
    edges = length_bins(int(every.max()))
    counts, _ = np.histogram(every, bins=edges)
    return Findings(
        name="prepared_data",
        title=f"Text from {Path(settings.data).name}",
        question="How much text do the records give, and how long are its documents?",
        facts=_facts(settings, found),
        headline=[Headline(name="tokens", value=int(every.sum()), n=len(every), unit="texts")],
        tables=_tables(settings, found, statistics),
        charts=[
            Chart(
                name="lengths",
                figure=length_histogram(counts, edges),
                caption="Each text's tokens, four bins a doubling.",
            )
        ],
        results={
            "tokens": statistics,
            "left_out": found.left_out,
            "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        },
        provenance={
            "data": {"source": settings.data},
            "sha256": {path: sha256(Path(path)) for path in track(local_files(settings.data), "hashing", "files")},
        },
    )


def _tables(settings: PrepareConfig, found: PreparedData, statistics: dict[str, dict[str, int]]) -> list[Table]:
    rows: list[list[Cell]] = [[split.replace("_", "-"), *values.values()] for split, values in statistics.items()]
    kept: list[list[Cell]] = [["gave a text", statistics["all"]["texts"]]]
    kept.extend([why, n] for why, n in found.left_out.items())
    which = "first right" if settings.only_right else "first" if settings.keep_incomplete else "first complete"
    return [
        Table(
            title="tokens a text", columns=("", *statistics["all"]), rows=rows, note=f"Counted by {found.distilled}."
        ),
        Table(title="records", columns=("", "n"), rows=kept, note=f"The {which} reply of each record is taken."),
    ]


def _facts(settings: PrepareConfig, found: PreparedData) -> dict[str, str]:
    return {
        "records": settings.data,
        "text": f"{settings.part}, {settings.template}, marks {'kept' if settings.markers == 'keep' else 'dropped'}",
        "tokenizer": found.distilled,
        "split": f"{settings.held_out:.0%} of questions held out, seed {settings.seed}",
        "folder": str(settings.output.out),
    }


def _statistics(lengths: Int[np.ndarray, " document"]) -> dict[str, int]:
    quantiles = {f"{q:.0%}": round(value) for q, value in zip(QUANTILES, np.quantile(lengths, QUANTILES), strict=True)}
    return (
        {"texts": len(lengths), "tokens": int(lengths.sum()), "min": int(lengths.min())}
        | quantiles
        | {"max": int(lengths.max())}
    )
