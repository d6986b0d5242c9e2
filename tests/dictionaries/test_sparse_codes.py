import pytest
import torch

from toolkit.dictionaries.sparse_codes import SparsePattern, positions_above


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
@pytest.mark.parametrize("floor", [0.0, 0.7])
def test_positions_above_are_those_of_a_loop(dtype, floor):
    values = torch.randn(30, 40, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = [i for i, value in enumerate(values.flatten().tolist()) if value > torch.tensor(floor).to(dtype)]
    assert positions_above(values, floor).tolist() == expected
