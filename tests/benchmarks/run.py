"""Every speed that this project claims, both sides timed in one run: python tests/benchmarks/run.py --json FILE

Close other programs first. Training steps are timed on one thread; so are the reads.
"""

import argparse
import json
import platform
from pathlib import Path

import harvest
import latent_scaling
import torch
import training_step
from rich.console import Console
from rich.table import Table

LIMITS = {
    "l1_over_floor": ("at most", 1.15),
    "batchtopk_over_l1_floor": ("at most", 0.35),
    "batchtopk_bf16_over_l1_floor": ("at most", 0.2),
    "harvest_over_truncated": ("at least", 0.92),
    "harvest_over_no_stop": ("at least", 1.8),
    "latent_scaling_over_evaluation": ("at most", 2.0),
}


def main() -> None:
    """Time, print, and write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file to write the ratios to")
    arguments = parser.parse_args()
    measured = {**training_step.seconds(), **harvest.seconds(), **latent_scaling.seconds()}
    ratios = training_step.ratios() | harvest.ratios() | latent_scaling.ratios()
    console = Console()
    console.print(
        f"torch {torch.__version__}, {platform.machine()}, one thread; medians of CPU time, sides interleaved"
    )
    console.print(_table("step or batch", "time", {name: f"{1e3 * s:,.0f} ms" for name, s in measured.items()}))
    wanted = {name: f"{value:.3f}  ({' '.join(map(str, LIMITS[name]))})" for name, value in ratios.items()}
    console.print(_table("ratio", "value (wanted)", wanted))
    if not torch.cuda.is_available():
        console.print("no GPU here: nothing was timed on one")
    if arguments.json:
        arguments.json.write_text(json.dumps(ratios, indent=2) + "\n")


def _table(first: str, second: str, rows: dict[str, str]) -> Table:
    table = Table(first, second, box=None)
    for row in rows.items():
        table.add_row(*row)
    return table


if __name__ == "__main__":
    main()
