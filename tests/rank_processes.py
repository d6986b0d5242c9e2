"""Several processes on one machine, as a launcher would start them."""

import os
import runpy
import socket
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing

from toolkit.dictionaries.collectives import Ranks, Split
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.training import CrosscoderTrainer, train

RECIPES = Path(__file__).parents[1] / "recipes"
LENGTHS = (3, 0, 5)  # of what the ranks gather

multiprocessing.set_forkserver_preload(["toolkit.experiments.sweep.measure", "toolkit.training.streams"])


def start(size: int, work: Callable[..., None], *arguments: Any) -> multiprocessing.ProcessContext:
    """Begin `work(*arguments)` in `size` processes, in the environment that torchrun gives them; imports are made once.

    `join` of what is returned raises ProcessException where one of them ends with an error.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    about = (size, port, work, arguments)
    return multiprocessing.start_processes(_enter, about, nprocs=size, join=False, start_method="forkserver")


def launch(size: int, work: Callable[..., None], *arguments: Any) -> None:
    """Do all of what `start` begins."""
    context = start(size, work, *arguments)
    while not context.join():
        pass


def _enter(rank: int, size: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    work(*arguments)


def together(size: int, work: Callable[..., None], folder: Path, *arguments: Any) -> None:
    """Run `work(ranks, folder, *arguments)` in `size` processes that can exchange tensors."""
    launch(size, _join, work, folder, arguments)


def _join(work: Callable[..., None], folder: Path, arguments: tuple[Any, ...]) -> None:
    distributed.init_process_group("gloo")
    work(Ranks(size=distributed.get_world_size(), rank=distributed.get_rank()), folder, *arguments)
    distributed.destroy_process_group()


def call_recipe(recipe: Path, arguments: list[str], said: Path) -> None:
    """Run a recipe with a command line; what this process says goes to the file `said` and its rank."""
    sys.argv = [recipe.name, *arguments]
    with Path(f"{said}-{os.environ['RANK']}").open("w") as file, redirect_stdout(file), redirect_stderr(file):
        runpy.run_path(str(recipe), run_name="__main__")


def in_two(recipe: str, folder: Path, *arguments: object) -> list[str]:
    """Start a recipe in two processes; what each of them says."""
    launch(2, call_recipe, RECIPES / recipe, [str(each) for each in arguments], folder / "said")
    return [(folder / f"said-{rank}").read_text() for rank in range(2)]


def train_all(ranks: Ranks, folder: Path, plans: dict[str, TrainingConfig], batches: list[Tensor]) -> None:
    """Exchange numbers, then train each plan twice, tokens and latents shared out; leave a file of results a rank."""
    torch.save(exchanged(ranks), folder / f"exchanged-{ranks.rank}")
    for name, plan in plans.items():
        for by, split in (("tokens", Split(tokens=ranks)), ("latents", Split(latents=ranks))):
            parts = [part_of(x, ranks) for x in batches]
            torch.save(trained(plan, parts, split), folder / f"{name}-{by}-{ranks.rank}")


def exchanged(ranks: Ranks) -> dict[str, Any]:
    """What one rank is left with after each exchange."""
    own = torch.full((LENGTHS[ranks.rank], 2), float(ranks.rank))
    small, whole, large = torch.tensor([1.5, ranks.rank]), torch.tensor(2**40 + ranks.rank), torch.full((300, 300), 0.5)
    ranks.sum_(small, whole, large)
    return {
        "sums": (small, whole, large),
        "gathered": ranks.gathered(own),
        "place": ranks.place_of(own),
        "total": ranks.total(ranks.rank + 1),
        "highest": ranks.highest(ranks.rank),
        "share": ranks.share_of(10),
    }


def part_of(x: Tensor, ranks: Ranks) -> Tensor:
    """This rank's tokens of a batch, of which the first rank has the fewest."""
    sizes = [len(x) // (2 * ranks.size)] * (ranks.size - 1)
    return x.split([*sizes, len(x) - sum(sizes)])[ranks.rank]


def trained(plan: TrainingConfig, parts: list[Tensor], split: Split) -> tuple[list[Any], dict[str, Tensor]]:
    """Metrics and state after a step on each batch but the first, which the state is made from; many latents die."""
    state = initialise(plan, 2, parts[0], torch.Generator().manual_seed(0), split)
    state["b_enc"] -= 1
    trainer = CrosscoderTrainer(plan, state, models=("base", "distilled"), layers=(3,), split=split)
    return [metrics for (metrics,) in train([trainer], parts[1:])], trainer.state_dict()
