import pytest
import torch

from toolkit.experiments.geneft.repons import (
    DIE,
    MEET,
    TARGET,
    UNDECIDED,
    Draws,
    agrees,
    by_equations,
    by_gradient_descent,
    loss_gradients,
)

NONE = torch.zeros(1, dtype=torch.float64)


def one(decoder: float, distance: float, decoder_rate: float, encoder_rate: float) -> Draws:
    values = (torch.tensor([each], dtype=torch.float64) for each in (decoder, distance, decoder_rate, encoder_rate))
    return Draws(**dict(zip(("decoder", "distance", "decoder_rate", "encoder_rate"), values, strict=True)))


def test_the_sign_is_that_of_the_conserved_quantity() -> None:
    draws = one(2.0, 1.0, 0.5, 0.1)
    assert (draws.decoder_share.item(), draws.distance_share.item()) == (4.0, pytest.approx(10.0))
    assert draws.predicted.item() == DIE
    assert one(2.0, 1.0, 0.5, 0.5).predicted.item() == MEET


def test_gradients_are_those_of_the_loss() -> None:
    points, decoder, bias = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 5), (5,), (5,))
    )
    loss = (decoder * points + bias - TARGET).square().sum() / 2
    for ours, theirs in zip(
        loss_gradients(points, decoder, bias), torch.autograd.grad(loss, (points, decoder, bias)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_a_step_of_gradient_descent_is_that_of_the_equations() -> None:
    """Half the change of x₁ − x₂ is −η_x A² c, the change of A is −2 η_A c² A: read off where one step kills."""
    # With η_x A² = .99 the first step leaves 1 % of c, with .98 2 %; likewise 2 η_A c² of A.
    for share, outcome in ((0.9901, MEET), (0.98, UNDECIDED)):
        assert by_gradient_descent(one(2.0, 0.01, 1e-9, share / 4), NONE, steps=1).item() == outcome
    for share, outcome in ((0.9901, DIE), (0.98, UNDECIDED)):
        assert by_gradient_descent(one(0.01, 2.0, share / 8, 1e-9), NONE, steps=1).item() == outcome


def test_small_steps_end_as_the_sign_says() -> None:
    draws = Draws.random(60, torch.Generator().manual_seed(3))
    small = draws.first_step < 0.5
    assert small.sum() > 20
    assert agrees(draws, by_equations(draws)).all()
    descended = by_gradient_descent(draws, torch.zeros(60, dtype=torch.float64))
    assert agrees(draws, descended)[small].double().mean() > 0.9
    assert len(descended.unique()) > 1


def test_a_decoder_that_reads_off_the_origin_can_end_otherwise() -> None:
    draws = Draws.random(200, torch.Generator().manual_seed(1))
    at_origin = by_gradient_descent(draws, torch.zeros(200, dtype=torch.float64), steps=2000)
    elsewhere = by_gradient_descent(draws, torch.full((200,), 2.0, dtype=torch.float64), steps=2000)
    assert agrees(draws, elsewhere).sum() < agrees(draws, at_origin).sum()
