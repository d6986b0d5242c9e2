import pytest
import torch

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.metrics import evaluate


@pytest.fixture
def made(random_crosscoder) -> Crosscoder:
    return random_crosscoder(d_model=4, sparsity="topk", k=2)


def test_one_pass_over_batches_equals_the_definitions_on_all_tokens(made):
    made.W_enc[3], made.b_enc[3] = 0, -1  # never fires
    x = torch.randn(100, 2, 4, generator=torch.Generator().manual_seed(1)) + 20  # a mean far above the spread
    result = evaluate(made, x.split(17))
    codes, exact = made.encode(x), x.double()
    error = (exact - made(x)).square().sum(dim=(0, 2))
    variance = (exact - exact.mean(dim=0)).square().sum(dim=(0, 2))
    assert list(result.fve) == ["base", "distilled"]
    assert list(result.fve.values()) == pytest.approx((1 - error / variance).tolist(), rel=1e-4)
    torch.testing.assert_close(result.mean, exact.mean(dim=0).float())
    assert torch.equal(result.firing_counts, (codes > 0).sum(dim=0))
    torch.testing.assert_close(result.activation_mass, codes.sum(dim=0))
    assert (result.tokens, result.l0) == (100, (codes > 0).sum().item() / 100)
    assert result.dead_share == ((codes > 0).sum(dim=0) == 0).double().mean().item() > 0


def test_it_says_its_numbers_by_name_and_no_tensors(made):
    x = torch.randn(10, 2, 4, generator=torch.Generator().manual_seed(1))
    said = repr(evaluate(made, x))
    assert said.startswith("Dictionary metrics on 10 tokens: FVE base ")
    assert said.count("\n") == 1
    assert "tensor" not in said


def test_activations_of_another_shape_are_refused(made):
    with pytest.raises(ValueError, match=r"activations of shape \(9, 3, 4\): this crosscoder takes .* \(2, 4\)"):
        evaluate(made, torch.zeros(9, 3, 4))


def test_no_tokens_are_refused(made):
    with pytest.raises(ValueError, match="no activations to evaluate on"):
        evaluate(made, [])
