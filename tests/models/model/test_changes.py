"""Changes that are added up are made in one pass, wherever the model runs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.interventions.clamping import SetLatent
from toolkit.interventions.edits import shift
from toolkit.models.model.edits import Change, Edit, check_change
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import next_log_probability
from toolkit.models.pair import ModelPair

Batch = tuple[Tensor, Tensor]


@pytest.fixture
def ones() -> Tensor:
    return torch.ones(32)


@pytest.fixture
def changes(ones: Tensor, batch: Batch) -> list[Edit]:
    """Two at one site, of which the order matters; one at a later site and one at an earlier one."""
    twice = (2 * ones[None, None],)
    chosen = Edit(layer=3, function=torch.mul, operands=twice, positions=batch[1].bool())
    return [shift(2, ones), Edit(layer=2, function=torch.mul, operands=twice), chosen, shift(1, -ones)]


def total(changes: list[Edit]) -> Change:
    first, *others = changes
    for other in others:
        first = first + other
    return first


def test_at_one_site_they_are_made_in_their_order(tiny_pair: ModelPair, batch: Batch, changes: list[Edit]) -> None:
    (plain,) = tiny_pair.base.residual(*batch, 2)
    first, then = changes[:2]
    for edit, expected in ((first + then, (plain + 1) * 2), (then + first, plain * 2 + 1)):
        torch.testing.assert_close(tiny_pair.base.residual(*batch, 2, edit=edit)[0], expected)


def test_at_several_sites_one_function_of_all_does_the_same(
    tiny_pair: ModelPair, batch: Batch, changes: list[Edit]
) -> None:
    early, at_2, late = changes[3], total(changes[:2]), changes[2]
    (seen,) = tiny_pair.base.residual(*batch, 2, edit=early)
    (seen,) = tiny_pair.base.residual(*batch, 3, edit=Edit(layer=2, function=lambda _: (seen + 1) * 2))
    expected = tiny_pair.base.logits(*batch, edit=Edit(layer=3, function=lambda _: late(seen)))
    torch.testing.assert_close(tiny_pair.base.logits(*batch, edit=early + at_2 + late), expected)
    torch.testing.assert_close(tiny_pair.base.logits(*batch, edit=total(changes)), expected)


def test_they_are_data_that_runs_on_ndif_too(
    tiny_pair: ModelPair, ndif_tiny_pair: ModelPair, batch: Batch, changes: list[Edit]
) -> None:
    edit = total(changes)
    asks: tuple[Callable[[ModelPair], Tensor], ...] = (
        lambda pair: pair.base.residual(*batch, 2, edit=edit)[0],
        lambda pair: pair.base.logits(*batch, edit=edit),
        lambda pair: measure(pair.base, *batch, [None, edit], next_log_probability, (batch[0],)),
    )
    for ask in asks:
        torch.testing.assert_close(ask(ndif_tiny_pair).cpu(), ask(tiny_pair).cpu(), rtol=1e-4, atol=1e-4)
    everywhere = changes[0] + changes[3]
    here, there = (
        pair.base.generate_ids([[5, 6], [7]], edit=everywhere, new_tokens=4) for pair in (tiny_pair, ndif_tiny_pair)
    )
    assert there == here


def test_rows_of_a_sum_are_those_of_its_parts(tiny_pair: ModelPair, batch: Batch, ones: Tensor) -> None:
    each = shift(2, torch.stack([ones, 2 * ones, 3 * ones]))
    chosen = torch.tensor([2, 0])
    whole = tiny_pair.base.logits(*batch, edit=each + shift(1, ones))
    ids, mask = (part[chosen] for part in batch)
    alone = tiny_pair.base.logits(ids, mask, edit=(each + shift(1, ones)).rows(chosen))
    torch.testing.assert_close(alone, whole[chosen], rtol=1e-4, atol=1e-5)


@pytest.fixture
def crosscoder(random_crosscoder: Callable[..., Crosscoder]) -> Crosscoder:
    return random_crosscoder()


def by_hand(pair: ModelPair, crosscoder: Crosscoder, batch: Batch, latent: int, value: float) -> Edit:
    codes = crosscoder.encode(pair.residual(*batch)[batch[1].bool()])
    moved = (value - codes[:, latent, None]) * crosscoder.W_dec[latent, 1]
    return Edit(layer=2, function=torch.add, operands=(moved,), positions=batch[1].bool())


def test_a_latent_is_set_in_logits_and_streams_too(
    tiny_pair: ModelPair, ndif_tiny_pair: ModelPair, batch: Batch, crosscoder: Crosscoder, ones: Tensor
) -> None:
    for pair in (tiny_pair, ndif_tiny_pair):
        edit, model = by_hand(pair, crosscoder, batch, 2, 3.0), pair.distilled
        clamp = SetLatent(pair, crosscoder, latent=2, value=3.0)
        torch.testing.assert_close(model.logits(*batch, edit=clamp), model.logits(*batch, edit=edit))
        (ours,), (theirs,) = (model.residual(*batch, 2, edit=each) for each in (clamp, edit))
        torch.testing.assert_close(ours[batch[1].bool()], theirs[batch[1].bool()])
        both = model.logits(*batch, edit=shift(1, ones) + clamp)
        torch.testing.assert_close(both, model.logits(*batch, edit=shift(1, ones) + edit))


def test_a_latent_is_set_beside_other_changes_while_a_model_writes(
    tiny_pair: ModelPair, crosscoder: Crosscoder, ones: Tensor
) -> None:
    clamp = SetLatent(tiny_pair, crosscoder, latent=2, value=3.0)
    nothing = shift(2, torch.zeros(32))
    prompts = [[5, 6, 7], [8]]
    alone = tiny_pair.distilled.generate_ids(prompts, edit=clamp, new_tokens=5)
    assert tiny_pair.distilled.generate_ids(prompts, edit=clamp + nothing, new_tokens=5) == alone
    assert tiny_pair.distilled.generate_ids(prompts, edit=nothing + clamp + shift(1, 9 * ones), new_tokens=5) != alone


def test_half_a_text_and_what_is_no_change_are_refused(
    tiny_pair: ModelPair, batch: Batch, crosscoder: Crosscoder, ones: Tensor
) -> None:
    model = tiny_pair.distilled
    past = model.empty_cache()
    model.logits(batch[0][:, :4], batch[1][:, :4], past=past)
    clamp = SetLatent(tiny_pair, crosscoder, latent=2, value=3.0)
    with pytest.raises(ValueError, match="SetLatent reads whole texts, and these tokens follow others"):
        model.logits(batch[0][:, 4:], batch[1], past=past, edit=clamp)
    for wrong in ([shift(1, ones)], lambda step: shift(1, ones)):
        with pytest.raises(ValueError, match=r"edit is a (list|function): give one .* or several as a \+ b"):
            check_change(wrong)


def test_they_say_what_they_are(batch: Batch, ones: Tensor, changes: list[Edit]) -> None:
    assert repr(changes[0]) == "Edit of the stream at layer 2, everywhere: add with 1 tensors"
    assert repr(changes[0] + changes[2]).endswith("in this order: Edit at layer 2, Edit at layer 3")
