"""Training steps and shuffle buffer beside other libraries' on the same shapes: python tests/benchmarks/peers.py

The peers are never part of this project. Install them by name in an environment of their own,

    python -m venv peers && peers/bin/pip install eai-sparsify dictionary-learning sae-lens

and name its interpreter with --python or PEERS_PYTHON. Both sides take turns in one run, on one thread each; figures
are medians of CPU time, in fp32. A peer's autoencoder reads both models' activations as one vector, so its matrix
products are a crosscoder's of two models. What differs: sparsify and dictionary_learning keep decoder rows at norm 1
instead of weighting codes by their norms; ours measures FVE, L0 and dead share in every step; sparsify and
dictionary_learning's L1 do not clip. Our draw from the buffer fills the places again; dictionary_learning's, which does
not, is taken with a quarter read, halfway between two refreshes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from training_step import BATCH, D_MODEL, N_LATENTS, N_MODELS, K, step

from toolkit.dictionaries.rules import Sparsity
from toolkit.harvest.feed import ShuffleBuffer

ROUNDS = 7
BUFFER_TOKENS = 2**20
SHAPE = {"width": N_MODELS * D_MODEL, "latents": N_LATENTS, "batch": BATCH, "k": K, "buffer": BUFFER_TOKENS}
INSTALL = (
    "python -m venv peers && peers/bin/pip install eai-sparsify dictionary-learning sae-lens,"
    " then --python peers/bin/python or PEERS_PYTHON"
)


class Peers:
    """Other libraries in a process of their own; `said` tells of each work its versions, or what is missing."""

    def __init__(self, python: str, shape: Mapping[str, int] = SHAPE) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name("peer_side.py")), json.dumps(shape)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        self.said: dict[str, dict[str, str]] = json.loads(self._answer())

    def seconds(self, work: str) -> float:
        """CPU seconds of doing it once."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{work}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ValueError(
                f"the peers' process ended with {self._process.wait()}: run peer_side.py by hand to see why"
            )
        return line

    def __enter__(self) -> "Peers":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def our_steps() -> dict[str, Callable[[], object]]:
    """Our side of each work."""
    x = torch.randn(BATCH, N_MODELS, D_MODEL, generator=torch.Generator().manual_seed(0))
    rules: tuple[Sparsity, ...] = ("topk", "batchtopk", "l1")
    return {rule: step(x, rule, "fp32") for rule in rules} | {"buffer": our_draw()}


def our_draw() -> Callable[[], object]:
    """A batch from a full buffer, whose places are filled again."""
    chunk = torch.ones(BATCH, N_MODELS, D_MODEL, dtype=torch.bfloat16)

    def endless() -> Iterator[torch.Tensor]:
        while True:
            yield chunk

    buffer = ShuffleBuffer(
        endless(),
        capacity=BUFFER_TOKENS,
        batch_tokens=BATCH,
        dtype=torch.bfloat16,
        generator=torch.Generator().manual_seed(0),
    )
    batches = iter(buffer)
    return lambda: next(batches)


def rule_of(work: str) -> str:
    """Our side's name of a peer's work."""
    return work.split(": ")[1]


def time_both(ours: Mapping[str, Callable[[], object]], peers: Peers, rounds: int) -> dict[str, tuple[float, float]]:
    """Median CPU seconds of our side and the peer's for each work that can be done, in turn, after a warm-up round."""
    works = [work for work, said in peers.said.items() if "missing" not in said]
    spent: dict[str, list[tuple[float, float]]] = {work: [] for work in works}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(1 + rounds):
            for work in works:
                started = time.process_time()
                ours[rule_of(work)]()
                spent[work].append((time.process_time() - started, peers.seconds(work)))
    finally:
        torch.set_num_threads(threads)
    return {
        work: (median(our for our, _ in pairs[1:]), median(their for _, their in pairs[1:]))
        for work, pairs in spent.items()
    }


@cache
def measured(python: str | None) -> tuple[dict[str, tuple[float, float]], dict[str, dict[str, str]]]:
    """Both sides' seconds, and what the peers say of themselves; nothing without an interpreter of theirs."""
    if python is None:
        return {}, {}
    with Peers(python) as peers:
        able = {rule_of(work) for work, said in peers.said.items() if "missing" not in said}
        return time_both(our_steps() if able else {}, peers, ROUNDS), peers.said


def seconds() -> dict[str, float]:
    """Both sides, named; empty without PEERS_PYTHON."""
    both, _ = measured(os.environ.get("PEERS_PYTHON"))
    ours = {f"peers: ours beside {work}": our for work, (our, _) in both.items()}
    return ours | {f"peers: {work}": their for work, (_, their) in both.items()}


def ratios() -> dict[str, float]:
    """Our time over each peer's, by names like batchtopk_over_sae_lens; empty without PEERS_PYTHON."""
    both, _ = measured(os.environ.get("PEERS_PYTHON"))
    return {ratio_name(work): our / their for work, (our, their) in both.items()}


def ratio_name(work: str) -> str:
    """The name of our time over a peer's."""
    return f"{rule_of(work)}_over_{work.split(': ')[0]}"


def main() -> None:
    """Time, print, and write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=os.environ.get("PEERS_PYTHON"), help="interpreter that has the peers")
    parser.add_argument("--json", type=Path, help="file to write ratios to")
    arguments = parser.parse_args()
    console = Console()
    if arguments.python is None or not Path(arguments.python).exists():
        console.print(f"no interpreter with peers at {arguments.python}: {INSTALL}", soft_wrap=True)
        sys.exit(2)
    both, said = measured(arguments.python)
    table = Table("peer: rule", "theirs", "ours", "ours / theirs", "what it was", box=None)
    for work, about in said.items():
        if work in both:
            our, their = both[work]
            cells = (f"{1e3 * their:,.1f} ms", f"{1e3 * our:,.1f} ms", f"{our / their:.2f}", about["version"])
        else:
            cells = ("skipped", "", "", about["missing"])
        table.add_row(work, *cells)
    console.print(f"{SHAPE}, one thread, fp32 (buffer: bf16), medians of CPU time, ours on torch {torch.__version__}")
    console.print(table)
    if arguments.json:
        found = {ratio_name(work): our / their for work, (our, their) in both.items()}
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
