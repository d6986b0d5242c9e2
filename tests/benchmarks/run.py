"""Every speed that this project claims, both sides timed in one run: python tests/benchmarks/run.py --json FILE

Names of modules, as in `run.py steering ablation`, time those alone. Close other programs first. Each side has one
thread, and its figure is CPU time; of `remote` and `ranks`, where a second process works, wall time. Peers are timed
where PEERS_PYTHON names an interpreter that has them: see peers.py. It exits with 1 where a figure is beyond its limit.
Memory on a small machine (small_machine.py) and speed on a GPU (gpu.py, gpu_adapter.py) are measured apart.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

import ablation
import adapter_step
import attribution
import cache
import generation
import harvest
import latent_scaling
import peers
import ranks
import remote
import steering
import stitching
import top_examples
import torch
import training_step
from peer_side import WORKS
from rich.console import Console
from rich.table import Table

MODULES = (
    training_step,
    adapter_step,
    harvest,
    latent_scaling,
    top_examples,
    steering,
    generation,
    ablation,
    attribution,
    stitching,
    cache,
    remote,
    ranks,
    peers,
)
TIMED = {each.__name__: each for each in MODULES}
LIMITS = {
    "l1_over_floor": ("at most", 1.15),
    "batchtopk_over_l1_floor": ("at most", 0.35),
    "batchtopk_bf16_over_l1_floor": ("at most", 0.22),
    "adapter_step_over_passes": ("at most", 1.25),
    "first_adapter_step_over_passes": ("at most", 1.25),
    "harvest_over_truncated": ("at least", 0.92),
    "harvest_over_no_stop": ("at least", 1.8),
    "latent_scaling_over_evaluation": ("at most", 2.0),
    "top_examples_over_harvest": ("at least", 0.7),
    "steering_arms_over_one_generation": ("at most", 1.5),
    "generation_over_transformers_mixed": ("at least", 2.0),
    "generation_over_transformers_equal": ("at least", 0.9),
    "ablation_seconds": ("at most", 60),
    "attribution_seconds": ("at most", 5),
    "attribution_1024_over_64": ("at most", 40),
    "attribution_same_latents_1024_over_64": ("at most", 30),
    "stitching_over_reading": ("at most", 1.5),
    "stitching_over_reading_135m": ("at most", 1.5),
    "cached_over_streaming": ("at least", 1.5),
    "sweep_over_four_runs": ("at most", 0.5),
    "remote_over_local": ("at least", 0.5),
    "two_ranks_over_one": ("at least", 1.6),
} | {peers.ratio_name(work): ("at most", 1.0) for work in WORKS}


def main() -> None:
    """Time, print, and write the ratios and what is claimed in seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file to write ratios and seconds to")
    parser.add_argument("modules", nargs="*", help=f"what to time, of {', '.join(TIMED)}; default: all")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.modules if name not in TIMED]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(TIMED)}")
    timed = [TIMED[name] for name in arguments.modules or TIMED]
    measured = {name: spent for module in timed for name, spent in module.seconds().items()}
    ratios = {name: value for module in timed for name, value in module.ratios().items()}
    console = Console()
    console.print(f"torch {torch.__version__}, {_processor()}, one thread a side, sides take turns")
    console.print(_table("step, batch or study", "time", {name: _time(s) for name, s in measured.items()}))
    out = [name for name, value in ratios.items() if not _within(*LIMITS[name], value)]
    wanted = {
        name: f"{value:.3f}  ({' '.join(map(str, LIMITS[name]))})" + ("  [red]OUT[/]" if name in out else "")
        for name, value in ratios.items()
    }
    console.print(_table("ratio, or seconds where it says so", "value (wanted)", wanted))
    if not torch.cuda.is_available():
        console.print("no GPU here: nothing was timed on one")
    if peers in timed and not peers.seconds():
        console.print("no PEERS_PYTHON: no peer was timed")
    if arguments.json:
        arguments.json.write_text(json.dumps(ratios, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if out else 0)


def _processor() -> str:
    """Its name where Linux tells it, and which bf16 instructions it has, for limits hold on all of them."""
    described = Path("/proc/cpuinfo")
    if not described.exists():
        return platform.machine()
    pairs = (line.split(":", 1) for line in described.read_text().splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in pairs}
    has = set(fields.get("flags", "").split())
    bf16 = [name for flag, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512")) if flag in has]
    return f"{fields.get('model name', platform.machine())} (bf16: {' and '.join(bf16) or 'none'})"


def _within(side: str, limit: float, value: float) -> bool:
    return value <= limit if side == "at most" else value >= limit


def _time(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds >= 10 else f"{1e3 * seconds:,.0f} ms"


def _table(first: str, second: str, rows: dict[str, str]) -> Table:
    table = Table(first, second, box=None)
    for row in rows.items():
        table.add_row(*row)
    return table


if __name__ == "__main__":
    main()
