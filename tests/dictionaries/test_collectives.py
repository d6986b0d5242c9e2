"""The truth is one process that has all tokens and all latents."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from rank_processes import LENGTHS, together, train_all, trained
from torch import Tensor

from toolkit.dictionaries.collectives import ALONE, WHOLE, Ranks
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.rules import RULES
from toolkit.dictionaries.training import has_latent_rows

SIZE = 2
PLAN = TrainingConfig(
    tokens=256 * 20, batch_tokens=256, n_latents=65, n_shared=8, n_exclusive=5, k=3, k_initial=10, k_anneal_steps=10,
    lr=6e-3, lr_warmup_steps=5, decoder_init_norm=0.2, dead_after_tokens=500, threshold_decay=0.95,
    sparsity_coefficient=0.5,
)  # fmt: skip
PLANS = {rule: dataclasses.replace(PLAN, sparsity=rule) for rule in RULES}


@pytest.fixture(scope="module")
def batches() -> list[Tensor]:
    """Sparse activations around a mean, in two streams of unlike size."""
    generator = torch.Generator().manual_seed(1)
    features, mean = torch.randn(32, 2, 16, generator=generator), torch.randn(2, 16, generator=generator)
    codes = torch.rand(21, 256, 32, generator=generator) - 0.9
    raw = torch.einsum("btn,nsd->btsd", 60 * codes.relu(), features) + mean
    return list((raw * torch.tensor([1.0, 3.0])[:, None]).unbind())


@pytest.fixture(scope="module")
def of_rank(tmp_path_factory: pytest.TempPathFactory, batches: list[Tensor]) -> Callable[[str], list]:
    """What both ranks left under a name, after all plans were trained in two processes."""
    folder = tmp_path_factory.mktemp("ranks")
    together(SIZE, train_all, folder, PLANS, batches)
    return lambda name: [torch.load(folder / f"{name}-{rank}", weights_only=False) for rank in range(SIZE)]


@pytest.fixture(scope="module")
def alone(batches: list[Tensor]) -> dict[str, tuple]:
    """What one process finds with each rule."""
    return {rule: trained(plan, batches, WHOLE) for rule, plan in PLANS.items()}


@pytest.mark.parametrize("by", ["tokens", "latents"])
@pytest.mark.parametrize("rule", RULES)
def test_two_ranks_take_the_steps_of_one(of_rank, alone, rule, by):
    metrics, state = alone[rule]
    assert any(step.aux_loss > 0 for step in metrics)  # revival was at work
    (first_metrics, first), (second_metrics, second) = of_rank(f"{rule}-{by}")
    assert first_metrics == second_metrics
    for found, truth in zip(first_metrics, metrics, strict=True):
        for name, value in dataclasses.asdict(truth).items():
            assert getattr(found, name) == pytest.approx(value, rel=1e-4, abs=1e-5), (found.step, name)
    for name, truth in state.items():
        split = by == "latents" and truth.ndim > 0 and has_latent_rows(name)
        found = torch.cat([first[name], second[name]]) if split else first[name]
        torch.testing.assert_close(found, truth, rtol=1e-5, atol=1e-5, msg=name)
        assert split or torch.equal(first[name], second[name])


def test_exchanges_give_all_ranks_the_same(of_rank):
    found = of_rank("exchanged")
    for rank, left in enumerate(found):
        small, whole, large = left["sums"]
        assert small.tolist() == [3, 1]
        assert whole.item() == 2**41 + 1
        assert (large == 1).all()
        assert left["gathered"].tolist() == [[0, 0]] * LENGTHS[0] + [[1, 1]] * LENGTHS[1]
        assert left["place"] == [slice(0, 3), slice(3, 3)][rank]
        assert (left["total"], left["highest"]) == (3, 1)
        assert left["share"] == [slice(0, 5), slice(5, 10)][rank]


def test_alone_nothing_is_exchanged():
    values = torch.arange(3.0)
    ALONE.sum_(values)
    assert ALONE.gathered(values) is values
    assert (ALONE.total(5), ALONE.highest(5)) == (5, 5)
    assert (ALONE.share_of(7), ALONE.place_of(values)) == (slice(0, 7), slice(0, 3))
    assert values.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("size", "n"), [(3, 10), (4, 4), (5, 3)])
def test_shares_cover_all_without_overlap(size, n):
    shares = [range(n)[Ranks(size=size, rank=rank).share_of(n)] for rank in range(size)]
    assert [i for share in shares for i in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
