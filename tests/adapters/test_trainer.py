"""A step of an adapter's training: the loss as it is defined, and the same step from ranks and from a saved state."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pretended_device
import pytest
import torch
from rank_processes import together

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.configs import AdapterTrainingConfig
from toolkit.adapters.ordered_sums import CUBLAS
from toolkit.adapters.trainer import AdapterStep, AdapterTrainer, learning_rate
from toolkit.dictionaries.activation_batches import NonFiniteError
from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig

TRAINING = AdapterTrainingConfig(
    n_latents=24, sequences=60, batch_sequences=3, sparsity_coefficient=0.001, lr=0.02, recompute=False
)
MakeTrainer = Callable[..., AdapterTrainer]


def opened(organism_folders: tuple[str, str], where: str = "auto") -> AdaptedModel:
    adapter = Adapter.initialised(AdapterConfig(d_model=16, n_layers=3, n_latents=24), torch.Generator().manual_seed(2))
    return AdaptedModel.from_pretrained(
        base=organism_folders[0], distilled=organism_folders[1], adapter=adapter, where=where
    )


@pytest.fixture
def make_trainer(organism_folders: tuple[str, str]) -> MakeTrainer:
    def make(training: AdapterTrainingConfig = TRAINING, ranks: Ranks = ALONE, where: str = "auto") -> AdapterTrainer:
        return AdapterTrainer(training, opened(organism_folders, where), seed=0, ranks=ranks)

    return make


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Documents of 12, 9 and 5 tokens."""
    chance, lengths = torch.Generator().manual_seed(0), torch.tensor([[12], [9], [5]])
    mask = (torch.arange(12) < lengths).long()
    return [(torch.randint(0, 40, (3, 12), generator=chance) * mask, mask) for _ in range(count)]


def weights_of(trainer: AdapterTrainer) -> dict[str, torch.Tensor]:
    return {name: each.detach().cpu().clone() for name, each in trainer.adapted.transcoders.named_parameters()}


def losses_by_definition(adapted: AdaptedModel, ids: torch.Tensor, mask: torch.Tensor, cutoff: int) -> dict[str, Any]:
    """From whole models, document by document."""

    def log_p(mode: modes.Mode, row: int) -> torch.Tensor:
        length = int(mask[row].sum())
        return (
            adapted.in_mode(mode).logits(ids[row : row + 1, :length], mask[row : row + 1, :length])[0].log_softmax(-1)
        )

    first = tuple((modes.adapter(3) if layer < cutoff else modes.distilled(3))[layer] for layer in range(3))
    second = tuple((modes.distilled(3) if layer < cutoff else modes.adapter(3))[layer] for layer in range(3))
    sums, n = dict.fromkeys(("kl", "first", "second"), 0.0), 0
    for row in range(len(ids)):
        reference = log_p(modes.distilled(3), row)[:-1]
        n += len(reference)
        for name, mode in (("kl", modes.adapter(3)), ("first", first), ("second", second)):
            sums[name] += float((reference.exp() * (reference - log_p(mode, row)[:-1])).sum())
    return {name: total / n for name, total in sums.items()}


def test_a_step_reports_the_losses_as_they_are_defined(make_trainer: MakeTrainer) -> None:
    trainer, seen = make_trainer(), set()
    for ids, mask in batches(12):
        cutoff = trainer._cutoff()
        expected = losses_by_definition(trainer.adapted, ids, mask, cutoff)
        step = trainer.step(ids, mask)
        assert step.kl == pytest.approx(expected["kl"], rel=1e-3, abs=1e-6)
        assert step.bridging == pytest.approx((expected["first"], expected["second"]), rel=1e-3, abs=1e-6)
        assert step.loss == pytest.approx(
            step.kl + sum(step.bridging) + sum(step.nmse) / 4 + 0.001 * step.penalty, rel=1e-4
        )
        seen.add(cutoff)
    assert seen == {0, 1, 2, 3}


class Rounded(torch.autograd.Function):
    """Passes queries on; their gradients are rounded otherwise each time, unless torch is to keep one order."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor) -> torch.Tensor:
        return query.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        if torch.are_deterministic_algorithms_enabled():
            return gradient
        return gradient * (1 + 1e-7 * torch.randn(gradient.shape).to(gradient.device))


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have an accelerator whose backward pass of attention adds in any order: one that is here, or a pretended one."""
    if pretended_device.OWN is None:
        attention = torch.nn.functional.scaled_dot_product_attention

        def unordered(query: torch.Tensor, *others: Any, **options: Any) -> torch.Tensor:
            return attention(Rounded.apply(query), *others, **options)

        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", unordered)
    with pretended_device.present():
        yield


def resumed_and_whole(make: Callable[[], AdapterTrainer]) -> tuple[list[AdapterTrainer], list[list[AdapterStep]]]:
    """Two trainers after the same 20 steps, and their later steps; the first goes on from what a third had saved."""
    data, (resumed, whole, broken) = batches(1) * 20, (make(), make(), make())
    steps = [whole.step(*each) for each in data]
    for each in data[:9]:
        broken.step(*each)
    resumed.load_state_dict({name: tensor.cpu().clone() for name, tensor in broken.state_dict().items()})
    return [resumed, whole], [[resumed.step(*each) for each in data[9:]], steps]


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
@pytest.mark.parametrize("place", ["here", "away"])
def test_training_brings_the_adapter_closer_and_goes_on_exactly_from_a_saved_state(
    make_trainer: MakeTrainer, request: pytest.FixtureRequest, place: str, optimiser: str
) -> None:
    training, where = replace(TRAINING, optimiser=optimiser), "cpu"
    if place == "away":
        request.getfixturevalue("away")
        training, where = replace(training, ordered_sums=True), "auto"
    (resumed, whole), (later, steps) = resumed_and_whole(lambda: make_trainer(training, where=where))
    assert next(whole.adapted.transcoders.parameters()).is_cpu is (place == "here")
    assert steps[-1].kl < steps[0].kl / 2
    assert sum(steps[-1].nmse) < sum(steps[0].nmse)
    assert later == steps[9:]
    for name, each in weights_of(whole).items():
        assert torch.equal(weights_of(resumed)[name], each), name


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_where_sums_have_no_order_a_resumed_run_ends_close_by(make_trainer: MakeTrainer, optimiser: str) -> None:
    training = replace(TRAINING, optimiser=optimiser)
    (resumed, whole), (later, steps) = resumed_and_whole(lambda: make_trainer(training, where="auto"))
    assert later[-1].kl == pytest.approx(steps[-1].kl, rel=1e-2)
    if pretended_device.OWN is None:
        assert later != steps[9:]
    if optimiser == "muon":  # makes all directions of a gradient alike, those that are only rounding, too
        return
    found, expected = weights_of(resumed), weights_of(whole)
    for name in (name for name in expected if ".W_" in name):
        assert (found[name] - expected[name]).norm() < 1e-2 * expected[name].norm(), name


def test_ordered_sums_are_asked_of_torch_in_a_step_alone(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, enabled = [], torch.are_deterministic_algorithms_enabled
    move = AdapterTrainer._move

    def watched(trainer: AdapterTrainer) -> float:
        seen.append(enabled())
        return move(trainer)

    monkeypatch.setattr(AdapterTrainer, "_move", watched)
    monkeypatch.delenv(CUBLAS, raising=False)
    (data,) = batches(1)
    for ordered in (False, True):
        trainer = make_trainer(replace(TRAINING, ordered_sums=ordered))
        trainer.step(*data)
        assert not enabled()
    assert seen == [False, True]
    assert os.environ[CUBLAS] == ":4096:8"
    trainer.adapted.transcoders[2].W_dec.data[3, 4] = torch.nan
    with pytest.raises(NonFiniteError):
        trainer.step(*data)
    assert not enabled()


def step_in_ranks(ranks: Ranks, folder: Path, organism_folders: tuple[str, str]) -> None:
    trainer = AdapterTrainer(TRAINING, opened(organism_folders), seed=0, ranks=ranks)
    steps = [trainer.step(*each) for each in batches(5)]
    torch.save((steps, weights_of(trainer)), folder / f"rank-{ranks.rank}")


def test_ranks_take_the_steps_of_one_process(
    make_trainer: MakeTrainer, organism_folders: tuple[str, str], tmp_path: Path
) -> None:
    trainer = make_trainer()
    alone: list[AdapterStep] = [trainer.step(*each) for each in batches(5)]
    together(2, step_in_ranks, tmp_path, organism_folders)
    for rank in range(2):
        steps, weights = torch.load(tmp_path / f"rank-{rank}", weights_only=False)
        for one, other in zip(steps, alone, strict=True):
            assert (one.l0, one.dead, one.tokens) == (other.l0, other.dead, other.tokens)
            assert (one.kl, *one.nmse) == pytest.approx((other.kl, *other.nmse), rel=1e-3)
        for name, each in weights_of(trainer).items():
            torch.testing.assert_close(weights[name], each, rtol=1e-3, atol=1e-4)


def test_gradients_that_are_not_finite_leave_the_weights_as_they_were(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    (data,) = batches(1)
    trainer.step(*data)
    trainer.adapted.transcoders[2].W_dec.data[3, 4] = torch.nan
    before = weights_of(trainer)
    with pytest.raises(NonFiniteError, match=r"step 2 met NaN .*\n  loss nan, KL nan"):
        trainer.step(*data)
    for name, each in weights_of(trainer).items():
        torch.testing.assert_close(each, before[name], rtol=0, atol=0, equal_nan=True)


def test_a_penalty_beyond_reason_silences_all_latents(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(replace(TRAINING, sparsity_coefficient=1e4, lr=0.3))
    steps = [trainer.step(*each) for each in batches(20)]
    assert sum(steps[-1].l0) == 0


def test_the_learning_rate_rises_and_falls_to_nothing() -> None:
    rates = [learning_rate(TRAINING, step) for step in range(TRAINING.steps)]
    assert rates[0] == TRAINING.lr
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < TRAINING.lr / 100
