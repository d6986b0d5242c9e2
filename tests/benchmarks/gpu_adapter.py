"""Steps of an adapter's training on a GPU, at the shape of the 1.5B pair: python tests/benchmarks/gpu_adapter.py

Three parts, or those that are named (`gpu_adapter.py steps`):

steps      a step beside the passes that it needs (see adapter_step.py), one row of 2,048 and of 10,000 tokens, both
           without and with layers computed again in the backward pass; and the most memory that each takes
where      the operations that take the most time of a step
transcode  one transcoder's forward and backward pass, dense and sparse, by the number of latents that fire

Models are in bf16 with random weights, the transcoders' weights in fp32. `--shapes tiny` tries the code on the CPU.
"""

import gc
import json
from collections.abc import Callable, Iterator
from functools import partial

import torch
from adapter_step import passes, step
from gpu import Row, asked, draw, hardware, seconds_of
from gpu_shapes import real_shapes, tiny_shapes
from rich.console import Console
from torch.profiler import ProfilerActivity, profile
from transformers import PreTrainedConfig

from toolkit.dictionaries import transcoder_pass
from toolkit.dictionaries.transcoder_pass import transcode
from toolkit.dictionaries.transcoders import Transcoder

REAL = {"latents": 8192, "tokens": (2048, 10_000), "l0": (1, 4, 16, 64, 256, 1024, 4096)}
TINY = {"latents": 64, "tokens": (32,), "l0": (1, 32)}
L0, REPEATS, SLOWEST = 4, 5, 20


class Adapters:
    """What is timed, and where."""

    def __init__(self, config: PreTrainedConfig, device: torch.device, sizes: dict) -> None:
        self.config, self.device, self.sizes = config, device, sizes

    def steps(self) -> Iterator[Row]:
        """Steps beside their passes; where memory ends, the row says so."""
        for tokens in self.sizes["tokens"]:
            for recompute in (False, True):
                row: Row = {"tokens": tokens, "recompute": recompute}
                made = {
                    "passes": partial(self._passes, tokens, recompute),
                    "step": partial(self._step, tokens, recompute, L0),
                    "first step": partial(self._step, tokens, recompute, None),
                }
                for name, make in made.items():
                    row |= self._timed(name, make)
                for name in ("step", "first step"):
                    if isinstance(row[f"{name}, ms"], float) and isinstance(row["passes, ms"], float):
                        row[f"{name} / passes"] = row[f"{name}, ms"] / row["passes, ms"]
                yield row

    def _timed(self, name: str, make: Callable[[], Callable[[], object]]) -> Row:
        try:
            work = make()
            spent: float | str = 1e3 * seconds_of(work, self.device, REPEATS)
        except torch.cuda.OutOfMemoryError:
            spent = "out of memory"
        found: Row = {f"{name}, ms": spent}
        work = None
        gc.collect()
        if self.device.type == "cuda":
            found[f"{name}, GB"] = torch.cuda.max_memory_allocated(self.device) / 1e9
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        return found

    def where(self) -> Iterator[Row]:
        """The slowest operations of a step."""
        for tokens in self.sizes["tokens"]:
            work = self._step(tokens, True, L0)
            for _ in range(2):
                work()
            cuda = [ProfilerActivity.CUDA] if self.device.type == "cuda" else []
            with profile(activities=[ProfilerActivity.CPU, *cuda]) as profiled:
                work()
            timed = "self_device_time_total" if cuda else "self_cpu_time_total"
            found = sorted(profiled.key_averages(), key=lambda each: -getattr(each, timed))
            whole = sum(getattr(each, timed) for each in found)
            for each in found[:SLOWEST]:
                spent = getattr(each, timed)
                yield {
                    "tokens": tokens,
                    "what": each.key[:70],
                    "ms": spent / 1e3,
                    "share": spent / whole,
                    "n": each.count,
                }

    def transcode(self) -> Iterator[Row]:
        """Dense and sparse passes of one transcoder."""
        width, latents = self.config.hidden_size, self.sizes["latents"]
        threshold, fewest = transcoder_pass.DENSE_FROM, transcoder_pass.FEWEST_SPARSE
        transcoder_pass.FEWEST_SPARSE = {}
        for tokens in self.sizes["tokens"]:
            for l0 in self.sizes["l0"]:
                row: Row = {"tokens": tokens, "l0": l0}
                for way, dense_from in (("dense", 0.0), ("sparse", 1.1)):
                    transcoder_pass.DENSE_FROM = {self.device.type: dense_from}
                    run = transcoding(width, latents, tokens, l0, self.device)
                    row[f"{way}, ms"] = 1e3 * seconds_of(run, self.device, REPEATS)
                yield row
        transcoder_pass.DENSE_FROM, transcoder_pass.FEWEST_SPARSE = threshold, fewest

    def _rows(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.randint(self.config.vocab_size, (1, tokens), generator=torch.Generator().manual_seed(0))
        return ids, torch.ones_like(ids)

    def _passes(self, tokens: int, recompute: bool) -> Callable[[], object]:
        return passes(self.config, self.sizes["latents"], self._rows(tokens), self.device, recompute=recompute)

    def _step(self, tokens: int, recompute: bool, l0: int | None) -> Callable[[], object]:
        return step(self.config, self.sizes["latents"], self._rows(tokens), self.device, l0=l0, recompute=recompute)


def transcoding(width: int, latents: int, tokens: int, l0: int, device: torch.device) -> Callable[[], object]:
    """A forward and a backward pass with `l0` latents a token."""
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(tokens, width, generator=chance).to(device, torch.bfloat16 if device.type == "cuda" else None)
    transcoder = Transcoder(width, latents).to(device)
    for weight in (transcoder.W_enc, transcoder.W_dec):
        weight.data.copy_(torch.randn(latents, width, generator=chance) / width**0.5)
    scores = (x[:256].float() @ transcoder.W_enc.data.t()).flatten()
    transcoder.b_enc.data.fill_(-scores.topk(l0 * len(x[:256])).values[-1].item())
    weights, leaves = torch.full((tokens,), 1 / tokens, device=device), [x.requires_grad_(), *transcoder.parameters()]

    def run() -> object:
        parts = transcoder.W_enc, transcoder.b_enc, transcoder.W_dec, transcoder.b_dec
        out, penalty, _ = transcode(x, *parts, weights)
        return torch.autograd.grad([out, penalty], leaves, [torch.ones_like(out), torch.ones_like(penalty)])

    return run


PARTS = {"steps": Adapters.steps, "where": Adapters.where, "transcode": Adapters.transcode}


def main() -> None:
    """Time the parts; print tables and write them as JSON."""
    arguments, device = asked(__doc__, PARTS)
    shapes, sizes = (real_shapes(), REAL) if arguments.shapes == "real" else (tiny_shapes(), TINY)
    config, _ = next(iter(shapes.pairs.values()))
    timed, console = Adapters(config, device, sizes), Console()
    about, peak = hardware(device)
    console.print(about | {name: f"{rate / 1e12:.3g} TFLOP/s" for name, rate in peak.items()})
    found: dict[str, list[Row]] = {}
    for part in arguments.parts or PARTS:
        found[part] = list(PARTS[part](timed))
        console.print(draw(part, found[part]))
        if arguments.json:
            arguments.json.write_text(json.dumps({"about": about, "rates": peak} | found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
