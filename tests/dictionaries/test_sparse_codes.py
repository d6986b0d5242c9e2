import pytest
import torch

from toolkit.dictionaries.sparse_codes import SparsePattern, above, positive_positions
from toolkit.dictionaries.sparse_products.compiled import COMPILED


def example() -> tuple[torch.Tensor, SparsePattern, torch.Tensor]:
    """A [6, 9] matrix with an empty row and an empty column, its pattern and its values."""
    dense = torch.randn(6, 9, generator=torch.Generator().manual_seed(0)).clamp(min=0)
    dense[2], dense[:, 4] = 0, 0
    flat = dense.flatten().nonzero().squeeze(1)
    return dense, SparsePattern.from_flat(flat, (6, 9)), dense.flatten()[flat]


def test_matrix_is_the_dense_one():
    dense, pattern, values = example()
    assert torch.equal(pattern.matrix(values).to_dense(), dense)


def test_transposed_reorders_values():
    dense, pattern, values = example()
    transposed, order = pattern.transposed()
    assert torch.equal(transposed.matrix(values[order]).to_dense(), dense.t())


def test_sampled_product_is_the_product_at_the_pattern():
    dense, pattern, _ = example()
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(6, 5, generator=generator), torch.randn(9, 5, generator=generator)
    torch.testing.assert_close(pattern.sampled_product(left, right), (left @ right.t())[dense > 0])


def test_restricted_keeps_the_chosen():
    dense, pattern, values = example()
    large = (values > 0.5).nonzero().squeeze(1)
    assert torch.equal(pattern.restricted(large).matrix(values[large]).to_dense(), dense * (dense > 0.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_positive_positions_are_those_of_a_loop(dtype):
    values = torch.randn(30, 40, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = [i for i, value in enumerate(values.flatten().tolist()) if value > 0]
    assert positive_positions(values).tolist() == expected


@pytest.mark.parametrize("implementation", [above, COMPILED.above], ids=["torch", "compiled"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(30, 40), (5, 64), (3, 333), (1, 1), (70, 5), (0, 7), (4, 0)], ids=str)
@pytest.mark.parametrize("height", [-10.0, 0.0, 2.0, 10.0], ids="limit of {}".format)
def test_what_exceeds_its_row_s_limit_is_found_with_its_value(implementation, dtype, shape, height):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(shape, generator=generator).to(dtype)
    limits = height + torch.randn(shape[0], generator=generator)
    pattern, found = implementation(scores, limits)
    expected = [(i, j) for i in range(shape[0]) for j in range(shape[1]) if scores[i, j].item() > limits[i].item()]
    assert list(zip(pattern.rows.tolist(), pattern.columns.tolist(), strict=True)) == expected
    assert pattern.shape == shape
    assert torch.equal(found, scores[pattern.rows, pattern.columns])


@pytest.mark.parametrize("implementation", [above, COMPILED.above], ids=["torch", "compiled"])
def test_scores_in_bf16_are_compared_with_limits_between_two_of_its_numbers(implementation):
    exact = torch.tensor([1.0, -1.0, 0.0, 3e38, -3e38, 1e-40]).bfloat16()
    scores = torch.stack([exact, exact.nextafter(exact + torch.inf), exact.nextafter(exact - torch.inf)], dim=1)
    scores = scores.repeat(5, 1)
    by = torch.tensor([1.0, 1 + 1e-4, 1 - 1e-4, torch.inf, torch.nan]).repeat_interleave(len(exact))
    limits = exact.float().repeat(5) * by
    pattern, _ = implementation(scores, limits)
    expected = (scores.float() > limits[:, None]).nonzero()
    assert torch.equal(torch.stack([pattern.rows, pattern.columns], dim=1), expected.int())


def test_scores_in_bf16_are_not_copied_to_be_compared():
    scores = torch.randn(500, 400, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.profiler.profile(profile_memory=True) as measured:
        above(scores, torch.full((500,), 10.0))
    assert max(event.cpu_memory_usage for event in measured.key_averages()) <= scores.numel() * 1.1  # a byte each
