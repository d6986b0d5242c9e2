from dataclasses import replace

import pytest
import torch

from toolkit.dictionaries.collectives import WHOLE, Ranks, Split
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.gradient_norm import gradient_norm
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.partition import Partition
from toolkit.dictionaries.sparse_products.plain import PLAIN
from toolkit.dictionaries.sparse_products.products import row_squares
from toolkit.dictionaries.training import CrosscoderTrainer, train
from toolkit.dictionaries.weights import Pass

NONE = Partition(n_models=3, n_shared=0, n_exclusive=0)


def squares_too(*arguments):
    """What a pass gives that takes the squares as it writes."""
    return PLAIN.weight_gradients(*arguments).with_squares()


@pytest.mark.parametrize(
    "settings",
    [
        {"aux_coefficient": 0.0},
        {"dead_after_tokens": 64},
        {"difference_weight": 0.5},
        {"n_shared": 8, "n_exclusive": 4},
    ],
    ids=["plain", "revival adds to rows", "difference", "partition"],
)
def test_steps_that_take_squares_as_they_write_are_clipped_alike(planted, monkeypatch, settings):
    training = TrainingConfig(
        n_latents=48, k=4, batch_tokens=64, tokens=8 * 64, lr_warmup_steps=2, k_anneal_steps=2, clip=1e-3, **settings
    )
    found = {}
    for products in (PLAIN, replace(PLAIN, weight_gradients=squares_too)):
        monkeypatch.setattr("toolkit.dictionaries.training.products_of", lambda *_, products=products: products)
        batches = (x[:64] for x in planted(1))
        state = initialise(training, 2, next(batches), torch.Generator().manual_seed(2))
        trainer = CrosscoderTrainer(training, state, models=("base", "distilled"), layers=(0,))
        found[products] = [step for (step,) in train([trainer], batches)]
    truth, steps = found.values()
    assert [step.grad_norm for step in steps] == pytest.approx([step.grad_norm for step in truth], rel=1e-5)
    assert any(step.aux_loss for step in truth) == ("aux_coefficient" not in settings)


def the_pass(weights, squares) -> Pass:
    return Pass(weights, torch.zeros(2, 15), torch.zeros(24).long(), torch.zeros(()), torch.zeros(()), squares)


def test_squares_stand_for_the_two_matrices_alone(make_weights):
    gradients = make_weights(thresholds=True)
    known = the_pass(gradients, row_squares(gradients.W_enc, gradients.W_dec))
    expected = torch.cat([gradient.flatten() for gradient in gradients.named().values()]).norm()
    torch.testing.assert_close(gradient_norm(known, WHOLE, NONE), expected)
    known.row_squares.add_(1)  # the matrices are not looked at
    torch.testing.assert_close(gradient_norm(known, WHOLE, NONE), (expected**2 + 24).sqrt())


@pytest.mark.parametrize(
    ("split", "partition"),
    [
        (Split(tokens=Ranks(size=2)), NONE),
        (WHOLE, Partition(n_models=3, n_shared=1, n_exclusive=0)),
        (WHOLE, Partition(n_models=3, n_shared=0, n_exclusive=1)),
    ],
    ids=["tokens shared out", "shared latents", "exclusive latents"],
)
def test_squares_are_not_believed_where_gradients_change_after_them(make_weights, split, partition):
    gradients = make_weights()
    norm = gradient_norm(the_pass(gradients, torch.full((24,), torch.nan)), split, partition)
    torch.testing.assert_close(norm, gradient_norm(the_pass(gradients, None), WHOLE, NONE))


def test_ranks_that_share_out_latents_add_their_rows_up(make_weights, monkeypatch):
    gradients = make_weights()
    monkeypatch.setattr(Ranks, "sum_", lambda ranks, squared: squared.mul_(ranks.size))
    norm = gradient_norm(the_pass(gradients, torch.full((24,), torch.nan)), Split(latents=Ranks(size=2)), NONE)
    rows = sum(each.square().sum() for each in gradients[:3])
    torch.testing.assert_close(norm, (2 * rows + gradients.b_dec.square().sum()).sqrt())
