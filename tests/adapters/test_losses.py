"""The losses of an adapter, against their definitions."""

import pytest
import torch

from toolkit.adapters import losses
from toolkit.adapters.losses import divergences, normalised_errors


@pytest.mark.parametrize("chunk", [7, 2**20])
def test_divergences_and_their_gradients_are_those_of_the_definition(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "LARGEST_LOGITS", chunk * 11)
    chance = torch.Generator().manual_seed(0)
    head, reference = torch.randn(5, 11, generator=chance), torch.randn(20, 5, generator=chance)
    streams = [torch.randn(20, 5, generator=chance).requires_grad_() for _ in range(2)]
    weights = torch.rand(20, generator=chance)

    def naive(stream: torch.Tensor) -> torch.Tensor:
        expected, found = ((each @ head).log_softmax(dim=-1) for each in (reference, stream))
        return (weights * (expected.exp() * (expected - found)).sum(dim=-1)).sum()

    wanted = [naive(each) for each in streams]
    found = divergences(lambda stream: stream @ head, reference, streams, weights, vocabulary=11)
    torch.testing.assert_close(torch.stack(found), torch.stack(wanted))
    expected = torch.autograd.grad(wanted[0] + 2 * wanted[1], streams)
    for gradient, each in zip(torch.autograd.grad(found[0] + 2 * found[1], streams), expected, strict=True):
        torch.testing.assert_close(gradient, each)


def test_normalised_error_is_a_ratio_of_sums_over_each_rows_real_tokens() -> None:
    reference = torch.tensor([[[3.0], [4.0], [9.0]], [[1.0], [1.0], [1.0]]])
    stream = reference + torch.tensor([[[5.0], [0.0], [7.0]], [[1.0], [0.0], [0.0]]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    found = normalised_errors([reference, stream], [reference, reference], mask)
    torch.testing.assert_close(found, torch.tensor([0.0, (25 / 25 + 1 / 3) / 2]))
