import pretended_device
import pytest
import torch
from torch import Tensor

from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products.choosing import products_for
from toolkit.dictionaries.sparse_products.ordered import ORDERED
from toolkit.dictionaries.sparse_products.plain import PLAIN, row_sums

LATENTS, TOKENS, WIDTH = 40, 30, 12


def drawn(share: float, place: torch.device | str = "cpu") -> tuple[SparsePattern, dict[str, Tensor]]:
    """A pattern with so many nonzeros, whose sixth latent never fires, and operands of all products."""
    generator = torch.Generator().manual_seed(0)
    fires = torch.rand(LATENTS, TOKENS, generator=generator) < share
    fires[5] = False
    flat = fires.flatten().nonzero().squeeze(1).to(place)
    shapes = {
        "codes": (len(flat),), "W_enc": (LATENTS, WIDTH), "b_enc": (LATENTS,), "W_dec": (LATENTS, WIDTH),
        "x": (TOKENS, WIDTH), "error_gradient": (TOKENS, WIDTH), "start": (TOKENS, WIDTH),
    }  # fmt: skip
    operands = {name: torch.randn(shape, generator=generator).to(place) for name, shape in shapes.items()}
    return SparsePattern.from_flat(flat, (LATENTS, TOKENS)), operands


def multiplied(products, pattern: SparsePattern, by: dict[str, Tensor]) -> list[Tensor]:
    """All that an implementation computes."""
    out = torch.full_like(by["W_enc"], torch.nan), torch.full_like(by["W_enc"], torch.nan)
    gradients = products.weight_gradients(pattern, by["codes"], by["x"], by["error_gradient"], by["W_dec"], out)
    decoded = products.decode(pattern, by["codes"], by["W_dec"], by["start"].clone())
    return [products.codes(pattern, by["W_enc"], by["b_enc"], by["x"]), decoded, *gradients.with_squares()]


@pytest.mark.parametrize("place", ["cpu", pretended_device.AWAY], ids=["here", "away"])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_ordered_products_are_those_of_torchs_sparse_matrices(place, share):
    pattern, operands = drawn(share, place)
    for ordered, plain in zip(
        multiplied(ORDERED, pattern, operands), multiplied(PLAIN, pattern, operands), strict=True
    ):
        torch.testing.assert_close(ordered.cpu(), plain.cpu(), rtol=1e-5, atol=1e-5)


def test_ordered_products_have_the_same_bits_each_time():
    pattern, operands = drawn(0.2, pretended_device.AWAY)
    first, *others = (multiplied(ORDERED, pattern, operands) for _ in range(20))
    assert all(torch.equal(a.cpu(), b.cpu()) for found in others for a, b in zip(first, found, strict=True))


def test_the_values_of_a_row_are_added_one_after_the_other():
    pattern, operands = drawn(0.5)
    expected = torch.zeros(LATENTS)
    for row, value in zip(pattern.rows.tolist(), operands["codes"], strict=True):
        expected[row] += value
    assert torch.equal(row_sums(pattern, operands["codes"]), expected)


def test_they_are_taken_where_they_are_named():
    assert products_for(torch.device("cuda"), "ordered") is products_for(torch.device("cpu"), "ordered") is ORDERED
