"""Two GPUs against one, on the embedded pair: the same weights, and how long each way takes.

    python tests/benchmarks/two_gpus.py                    # on a machine with two GPUs
    python tests/benchmarks/two_gpus.py --tokens 6000      # a trial on two CPU processes, where there is no GPU
    python tests/benchmarks/two_gpus.py -- --pair qwen-1.5b --data my-texts.jsonl      # options of the recipe

It never ran on two GPUs, but on two CPU processes. It trains one small crosscoder in each of these ways, all on the
same two shards of the text in fp32, and needs no network:

one process         the yardstick
two, tokens         two processes that share out the tokens of a batch
two, latents        two processes that share out the latents
killed, resumed     two that share out tokens, killed after a checkpoint and started again with --resume
a model on each     one process, whose two models are on two devices
the same, triton    with --kernels triton, where there are GPUs; it fails too where kernels give way to torch
tensor parallel     two processes that share out each layer of the models; skipped, and said so, where nnsight cannot
                    trace what transformers has split, from transformers 5.23 on

A way fails where it ends with an error, or where its weights differ from the yardstick's by more than its limit, as
‖difference‖ / ‖weights‖ of the worst tensor. Sums in another order may move a latent over the edge of the k that fire,
so the limits are not those of a single sum. What was killed and resumed is compared with the run of two processes that
was not, and may not differ in a bit; on GPUs all other ways take --kernels ordered, for that. The exit code is 1 where
a way fails.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch
from packaging.version import Version
from rich.console import Console
from rich.table import Table
from safetensors import SafetensorError
from safetensors.torch import load_file

from toolkit.training.checkpoints import Checkpoints

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "train_crosscoder.py"
WEIGHTS, STEPS = "crosscoder.safetensors", "metrics.jsonl"
ONE, TOKENS = "one process", "two, tokens"
CHECKPOINT_STEPS = 2
PATIENCE = 1800  # seconds of one way, after which it counts as hanging
LIMIT, SPLIT_LIMIT = 1e-3, 5e-2  # split layers sum in the models' own type
GAVE_WAY = "leave out kernels triton"
"""What a warning says where torch takes over from kernels."""
TRACEABLE = Version("5.23")
"""The first transformers whose split layers nnsight cannot trace."""


def launched(script: list[str]) -> list[str]:
    """The command that starts two processes of a recipe."""
    return ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", *at_free_port("_"), *script]


def split(script: list[str]) -> list[str]:
    """The command that starts two processes, of which the second computes its parts of the layers."""
    return ["-m", "torch.distributed.run", "--nproc-per-node", "2", *at_free_port("-"), "--", *script]


def at_free_port(dash: str) -> list[str]:
    """Where the processes meet, as accelerate and torchrun name it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        name = "--main_process_port" if dash == "_" else "--master-port"
        return [name, str(free.getsockname()[1])]


class Ways:
    """Runs of one command line in several ways, each in a folder of its own."""

    def __init__(self, folder: Path, tokens: int, more: Sequence[str] = ()) -> None:
        self.folder = folder
        numbers = {"--tokens": tokens, "--seeds": 1, "--shards": 2, "--checkpoint-steps": CHECKPOINT_STEPS}
        numbers |= {"--buffer-tokens": 8192, "--held-out-tokens": 4096, "--n-latents": 256}
        on_gpus = torch.cuda.is_available()
        kernels = ["--kernels", "ordered"] if on_gpus else []
        words = [word for item in numbers.items() for word in map(str, item)]
        self._options = ["--precision", "fp32", *kernels, *words, *more]
        self._devices = ["cuda:0", "cuda:1"] if on_gpus else ["cpu", "cpu"]
        self._environment = {"OMP_NUM_THREADS": "1"} | os.environ | {"HF_HUB_OFFLINE": "1"}
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._environment["PYTHONPATH"] = os.pathsep.join(paths)

    def script(self, name: str, *options: str) -> list[str]:
        """The recipe's command line."""
        return [str(RECIPE), *self._options, "--out", str(self.folder / name), *options]

    def start(self, arguments: list[str]) -> subprocess.Popen[str]:
        """Begin a command; what it says goes to a file beside the runs."""
        with (self.folder / "said.txt").open("w") as said:
            return subprocess.Popen(
                [sys.executable, *arguments], env=self._environment, cwd=ROOT, text=True,
                stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def finish(self, arguments: list[str]) -> None:
        """Run a command to its end; raises `RuntimeError` with its last lines where it fails."""
        running = self.start(arguments)
        try:
            failed = running.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            kill(running)
            raise RuntimeError(f"it was killed after {PATIENCE} s:\n{self.last_lines()}") from None
        if failed:
            raise RuntimeError(self.last_lines())

    def last_lines(self) -> str:
        """The end of what the last command said."""
        return "\n".join((self.folder / "said.txt").read_text().splitlines()[-15:])

    def one(self, name: str) -> None:
        """One process."""
        self.finish(self.script(name))

    def tokens(self, name: str) -> None:
        """Two that share out tokens."""
        self.finish(launched(self.script(name)))

    def latents(self, name: str) -> None:
        """Two that share out latents."""
        self.finish(launched(self.script(name, "--shard", "latents")))

    def resumed(self, name: str) -> None:
        """Two that are killed after a checkpoint, and two that go on from it."""
        running = self.start(launched(self.script(name)))
        checkpoints = self.folder / name / "checkpoints"
        started = time.monotonic()
        while not Checkpoints(folder=checkpoints).paths():
            late = time.monotonic() - started > PATIENCE
            if late or running.poll() is not None:
                kill(running)
                raise RuntimeError(f"no checkpoint was seen before it ended, or in {PATIENCE} s:\n{self.last_lines()}")
            time.sleep(0.05)
        kill(running)
        if (self.folder / name / WEIGHTS).exists():
            raise RuntimeError("it was done before it could be killed: give more --tokens")
        first, *later = (self.folder / name / STEPS).read_text().splitlines()
        marked = json.dumps(json.loads(first) | {"before the kill": True})
        (self.folder / name / STEPS).write_text("".join(f"{line}\n" for line in (marked, *later)))
        self.finish(launched(self.script(name, "--resume")))
        if not (self.folder / name / STEPS).read_text().startswith(marked):
            raise RuntimeError("it began again and did not go on from its checkpoint")

    def apart(self, name: str, *options: str) -> None:
        """One process, and a model on each device."""
        base, distilled = self._devices
        self.finish(self.script(name, "--base-device", base, "--distilled-device", distilled, *options))

    def apart_by_triton(self, name: str) -> None:
        """The same, where the weights are not on the first device, by kernels that take the current one."""
        self.apart(name, "--kernels", "triton")
        if GAVE_WAY in (said := (self.folder / "said.txt").read_text()):
            raise RuntimeError(next(line for line in said.splitlines() if GAVE_WAY in line))

    def parallel(self, name: str) -> None:
        """Layers that are split over two."""
        self.finish(split(self.script(name, "--tensor-parallel")))


def kill(running: subprocess.Popen[str]) -> None:
    """End a launcher and all that it started: torchrun gives each process a session of its own."""
    if running.poll() is None:
        launcher = psutil.Process(running.pid)
        for process in [*launcher.children(recursive=True), launcher]:
            process.kill()
    running.wait()


def difference(folder: Path, yardstick: Path) -> float:
    """‖difference‖ / ‖weights‖ of the worst tensor."""
    ours, theirs = (load_file(each / WEIGHTS) for each in (folder, yardstick))
    found = [(ours[name] - theirs[name]).norm() / theirs[name].norm().clamp(min=1e-12) for name in theirs]
    return float(torch.stack(found).max())  # NaN where one is


def compare(ways: Ways) -> tuple[Table, dict[str, str]]:
    """A table of times and differences, and why ways failed."""
    works: dict[str, tuple[Callable[[str], None], str, float]] = {
        ONE: (ways.one, ONE, 0.0),
        TOKENS: (ways.tokens, ONE, LIMIT),
        "two, latents": (ways.latents, ONE, LIMIT),
        "killed, resumed": (ways.resumed, TOKENS, 0.0),
        "a model on each": (ways.apart, ONE, LIMIT),
        "the same, triton": (ways.apart_by_triton, ONE, LIMIT),
        "tensor parallel": (ways.parallel, ONE, SPLIT_LIMIT),
    }
    table, failed = Table("way", "seconds", "differs", "from", "limit", box=None), {}
    for name, (work, yardstick, limit) in works.items():
        if work == ways.apart_by_triton and not torch.cuda.is_available():
            continue
        if work == ways.parallel and (found := Version(version("transformers"))) >= TRACEABLE:
            said = f"skipped: nnsight cannot trace what transformers {found} has split"
            table.add_row(name, said, "", "", "")
            print(f"{name}: {said}", flush=True)
            continue
        started = time.perf_counter()
        try:
            work(name)
            differs = difference(ways.folder / name, ways.folder / yardstick)
            if not differs <= limit:
                failed[name] = f"its weights differ by {differs:.2g} from {yardstick}, and the limit is {limit:.2g}"
            said = f"{differs:.2g}"
        except (RuntimeError, OSError, KeyError, SafetensorError) as error:
            failed[name], said = str(error), "failed"
        spent = f"{time.perf_counter() - started:.1f}"
        table.add_row(name, spent, said, yardstick if name != ONE else "", f"{limit:.2g}")
        print(f"{name}: {spent} s, {said}", flush=True)
    return table, failed


def main() -> None:
    """Compare all ways; end with 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=100_000, help="tokens to train on (default: 100,000)")
    parser.add_argument("options", nargs="*", help="options of train_crosscoder.py, after --")
    arguments = parser.parse_args()
    if torch.cuda.is_available() and torch.cuda.device_count() < 2:
        sys.exit("one GPU here: two are needed, or none (CUDA_VISIBLE_DEVICES=) for a trial on CPUs")
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        table, failed = compare(Ways(Path(folder), arguments.tokens, arguments.options))
    console.print(table)
    for name, reason in failed.items():
        console.print(f"{name}: {reason}", markup=False)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
