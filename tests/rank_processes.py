"""Several processes that train together on one machine, as a launcher would start them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing

from toolkit.dictionaries.collectives import Ranks, Split
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.training import CrosscoderTrainer, train

LENGTHS = (3, 0, 5)  # of what the ranks gather


def together(size: int, work: Callable[..., None], folder: Path, *arguments: Any) -> None:
    """Run `work(ranks, folder, *arguments)` in `size` processes that can exchange tensors."""
    multiprocessing.spawn(_enter, (size, work, folder, arguments), nprocs=size)


def _enter(rank: int, size: int, work: Callable[..., None], folder: Path, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder / f'{work.__name__} store'}"
    distributed.init_process_group("gloo", store, rank=rank, world_size=size)
    work(Ranks(size=size, rank=rank), folder, *arguments)
    distributed.destroy_process_group()


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
    return list(train(trainer, parts[1:])), trainer.state_dict()
