"""Harvest and training on a GPU, at real shapes with random weights: python tests/benchmarks/gpu.py --json gpu.json

Seven parts, or those that are named (`gpu.py harvest steps`):

harvest  tokens/s at the sites of the pairs of 1.5B, 7B and 14B, both models in bf16, 8 rows of 2,048 tokens
steps    a training step of each rule and precision, 2,048 tokens, at 32,768, 65,536 and 131,072 latents
overlap  reading and training in turn, and with a thread that reads ahead
decode   sparse decoding of 100 latents a token against the dense product
kernels  the products of the codes that fire and Adam by torch and by Triton, a selection two ways, and whole steps
run      a whole run of the first pair, from models on the disk to the report, by stage; exits with 1 where one takes
         15 % more than the slower of reading and training needs
reading  where the time of reading goes: transformers' passes alone, masked, under nnsight, selection, the whole source;
         expect three minutes on an H100

Shares of peak are of what large matrix products reach on the device, measured first, and of the device's nominal dense
bf16 peak where that is known. Without CUDA it refuses, unless `--shapes tiny` asks for a trial of the code on the CPU.
"""

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Collection, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from gpu_kernels import time_kernels
from gpu_reading import time_reading
from gpu_run import ALLOWED, time_run, verdict
from gpu_shapes import RandomText, Shapes, random_pair, real_shapes, tiny_shapes
from gpu_timing import seconds_of, wait
from rich.console import Console
from rich.table import Table
from torch import Tensor

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.rules import RULES
from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.training import CrosscoderTrainer
from toolkit.experiments.costs.rates import matrix_rate
from toolkit.harvest.choices import Shuffling
from toolkit.harvest.feed import Feed, ShuffleBuffer
from toolkit.models.model.shapes import ModelShape
from toolkit.training.costs import harvest_flops, training_flops

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
NOMINAL = {"A100": 312e12, "H100": 989e12, "H100 PCIe": 756e12, "H200": 989e12}  # dense bf16, from the maker's sheets
Row = dict[str, Any]


def time_harvest(shapes: Shapes, device: torch.device, peak: dict[str, float]) -> Iterator[Row]:
    """Tokens a second of reading each pair."""
    tokens = shapes.rows[0] * shapes.rows[1]
    for name, (config, layer) in shapes.pairs.items():
        source = RandomText(random_pair(config, layer, device), shapes.rows)
        spent = seconds_of(source.read, device, shapes.repeats)
        flops = 2 * tokens * harvest_flops(ModelShape.from_config(config), layer, shapes.rows[1]) / spent
        yield {"pair": name, "layer": layer, "tokens/s": tokens / spent, "TFLOP/s": flops / 1e12} | shares(flops, peak)


def make_trainer(shapes: Shapes, device: torch.device, **settings: Any) -> tuple[CrosscoderTrainer, Tensor]:
    """A trainer on random activations, and a batch of them."""
    config = TrainingConfig(k=shapes.k, k_anneal_steps=0, batch_tokens=shapes.batch, **settings)
    x = torch.randn(shapes.batch, 2, shapes.d_model, generator=torch.Generator().manual_seed(0)).to(device)
    state = initialise(config, 2, x, torch.Generator().manual_seed(1))
    return CrosscoderTrainer(config, state, models=("base", "distilled"), layers=(0,)), x


def time_steps(shapes: Shapes, device: torch.device, peak: dict[str, float]) -> Iterator[Row]:
    """A training step of each rule, size and precision; where memory ends, the row says so."""
    for n_latents in shapes.latents:
        for rule in RULES:
            for precision in PRECISIONS:
                row: Row = {"rule": rule, "latents": n_latents, "precision": precision}
                try:
                    yield row | time_step(shapes, device, peak, sparsity=rule, n_latents=n_latents, precision=precision)
                except torch.cuda.OutOfMemoryError:
                    yield row | {"ms": "out of memory"}
                if device.type == "cuda":
                    torch.cuda.empty_cache()


def time_step(shapes: Shapes, device: torch.device, peak: dict[str, float], **settings: Any) -> Row:
    """One kind of step."""
    trainer, x = make_trainer(shapes, device, **settings)
    spent = seconds_of(lambda: trainer.step(x), device, shapes.repeats)
    flops = shapes.batch * training_flops(trainer.training, 2 * shapes.d_model) / spent
    rates = {"ms": 1e3 * spent, "tokens/s": shapes.batch / spent, "TFLOP/s": flops / 1e12}
    if device.type == "cuda":
        rates["peak GB"] = torch.cuda.max_memory_allocated(device) / 1e9
        torch.cuda.reset_peak_memory_stats(device)
    return rates | shares(flops, peak)


def time_overlap(shapes: Shapes, device: torch.device, peak: dict[str, float]) -> Iterator[Row]:
    """Reading and training together, in turn and as a run does, with a thread that reads ahead; and each alone."""
    config, layer = next(iter(shapes.pairs.values()))
    source = RandomText(random_pair(config, layer, device), shapes.rows)
    trainer, x = make_trainer(shapes, device, sparsity="batchtopk", n_latents=shapes.latents[0], precision="bf16")
    batches_a_pass = shapes.rows[0] * shapes.rows[1] / shapes.batch
    steps = math.ceil(shapes.repeats * batches_a_pass)
    reading = seconds_of(source.read, device, shapes.repeats) / batches_a_pass
    training = seconds_of(lambda: trainer.step(x), device, shapes.repeats)
    ahead = Feed({0: source}, shuffling(shapes), device)
    prefetched = seconds_a_step(trainer, iter(ahead), steps, device)
    ahead.close()
    in_turn = seconds_a_step(trainer, iter(shuffled(shapes, source)), steps, device)
    parts = {"reading alone": reading, "training alone": training, "in turn": in_turn, "read ahead": prefetched}
    for name, spent in parts.items():
        rate = shapes.batch / spent
        yield {"what": name, "ms a batch": 1e3 * spent, "tokens/s": rate, "times as fast as in turn": in_turn / spent}


def shuffling(shapes: Shapes) -> Shuffling:
    """A buffer of eight batches."""
    held = {"buffer_tokens": 8 * shapes.batch, "batch_tokens": shapes.batch}
    return Shuffling(shards=1, dtype="bf16", seed=0, **held)


def shuffled(shapes: Shapes, source: RandomText) -> ShuffleBuffer:
    """The same buffer, filled by the thread that draws from it."""
    held = {"capacity": 8 * shapes.batch, "batch_tokens": shapes.batch, "dtype": torch.bfloat16}
    return ShuffleBuffer(iter(source), generator=torch.Generator().manual_seed(0), **held)


def seconds_a_step(trainer: CrosscoderTrainer, batches: Iterator[Tensor], steps: int, device: torch.device) -> float:
    """Seconds of a step and of the reading that it needs, once the buffer is full."""
    for x in islice(batches, 3):
        trainer.step(x)
    wait(device)
    started = time.perf_counter()
    for x in islice(batches, steps):
        trainer.step(x)
    wait(device)
    return (time.perf_counter() - started) / steps


def time_decode(shapes: Shapes, device: torch.device, peak: dict[str, float]) -> Iterator[Row]:
    """Ways from k codes a token to a reconstruction."""
    for n_latents in shapes.latents:
        ways = decoding_ways(shapes, n_latents, device)
        spent = {name: seconds_of(way, device, shapes.repeats) for name, way in ways.items()}
        for name, seconds in spent.items():
            faster = spent["dense, fp32"] / seconds
            yield {"latents": n_latents, "way": name, "ms": 1e3 * seconds, "times as fast as dense, fp32": faster}


def decoding_ways(shapes: Shapes, n_latents: int, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """The same product in sparse and in dense form; bf16 casts its operands each time, as a step does."""
    generator = torch.Generator().manual_seed(0)
    decoder = torch.randn(n_latents, 2 * shapes.d_model, generator=generator).to(device)
    kept = torch.rand(shapes.batch, n_latents, generator=generator).topk(shapes.k, dim=1).indices.sort(dim=1).values
    flat = (kept + n_latents * torch.arange(shapes.batch)[:, None]).flatten().to(device)
    pattern, codes = SparsePattern.from_flat(flat, (shapes.batch, n_latents)), torch.rand(len(flat), device=device)
    sparse, indices = pattern.matrix(codes), kept.to(device)
    dense, by_token = sparse.to_dense(), codes.view(shapes.batch, shapes.k)
    bag = torch.nn.functional.embedding_bag
    return {
        "sparse, CSR": lambda: sparse @ decoder,
        "sparse, CSR made anew": lambda: pattern.matrix(codes) @ decoder,
        "embedding bag": lambda: bag(indices, decoder, per_sample_weights=by_token, mode="sum"),
        "dense, fp32": lambda: dense @ decoder,
        "dense, bf16": lambda: dense.bfloat16() @ decoder.bfloat16(),
    }


def shares(flops: float, peak: dict[str, float]) -> Row:
    """Which part of the device's rates this is."""
    return {f"of {name}": flops / rate for name, rate in peak.items()}


PARTS = {
    "harvest": time_harvest,
    "steps": time_steps,
    "overlap": time_overlap,
    "decode": time_decode,
    "kernels": lambda shapes, device, _: time_kernels(shapes, device),
    "run": time_run,
    "reading": lambda shapes, device, _: time_reading(shapes, device),
}


def hardware(device: torch.device) -> tuple[dict[str, str], dict[str, float]]:
    """What this runs on, and its rates in operations a second."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({platform.machine()})"
    versions = {each: version(each) for each in ("torch", "transformers", "nnsight")}
    cuda = {"cuda": str(torch.version.cuda)} if device.type == "cuda" else {}
    rates = {f"measured {kind}": matrix_rate(device, dtype) for kind, dtype in PRECISIONS.items()}
    known = [rate for key, rate in NOMINAL.items() if key in name]
    nominal = {"nominal bf16": known[-1]} if known else {}
    return {"device": name, "python": platform.python_version()} | versions | cuda, rates | nominal


def draw(title: str, rows: list[Row]) -> Table:
    """A table of all columns that a row has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*columns, title=title, title_justify="left", box=None)
    for row in rows:
        table.add_row(*(f"{cell:,.3g}" if isinstance(cell, float) else str(cell) for cell in map(row.get, columns)))
    return table


def asked(description: str | None, parts: Collection[str]) -> tuple[argparse.Namespace, torch.device]:
    """What the command line asks for, and the device to run it on; ends where parts are unknown or no GPU is there."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts)}; default: all")
    parser.add_argument("--shapes", choices=("real", "tiny"), default="real")
    parser.add_argument("--json", type=Path, help="file to write everything to")
    arguments = parser.parse_args()
    if unknown := [part for part in arguments.parts if part not in parts]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(parts)}")
    if arguments.shapes == "real" and not torch.cuda.is_available():
        sys.exit("no CUDA device here: run this where there is one, or try its code with --shapes tiny")
    return arguments, torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    """Time the parts; print tables and write them as JSON; exit with 1 where a stage of the run takes too long."""
    arguments, device = asked(__doc__, PARTS)
    shapes = real_shapes() if arguments.shapes == "real" else tiny_shapes()
    console = Console()
    about, peak = hardware(device)
    console.print(about | {name: f"{rate / 1e12:.3g} TFLOP/s" for name, rate in peak.items()})
    found: dict[str, list[Row]] = {}
    for part in arguments.parts or PARTS:
        found[part] = list(PARTS[part](shapes, device, peak))
        if part == "run":
            console.print(
                verdict(found[part]) or f"no stage is above {ALLOWED:g} of the slower of reading and training"
            )
        console.print(draw(part, found[part]))
        if arguments.json:
            written = {"about": about, "rates": peak, "shapes": arguments.shapes} | found
            arguments.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    if verdict(found.get("run", [])):
        sys.exit(1)


if __name__ == "__main__":
    main()
