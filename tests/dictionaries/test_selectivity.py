import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from toolkit.dictionaries.selectivity import RankedCodes


def sample(n_tokens: int = 2000, n_latents: int = 7) -> tuple[Tensor, Tensor]:
    """Sparse codes, the first ones of which know the labels; one latent is dead, one always fires."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(n_tokens, generator=generator) < 0.1
    know = torch.linspace(1.5, 0, n_latents)
    scores = torch.randn(n_tokens, n_latents, generator=generator) + know * labels[:, None]
    codes = torch.relu(scores - 1)
    codes[:, -1] = 0
    codes[:, -2] += 0.5
    return codes, labels


@pytest.mark.parametrize("rounded", [False, True])
def test_every_latent_agrees_with_sklearn(rounded):
    codes, labels = sample()
    if rounded:
        codes = (codes * 4).round() / 4  # equal activations, beside the silent ones
    expected = [roc_auc_score(labels, column) for column in codes.T]
    ranked = RankedCodes.of(codes)
    torch.testing.assert_close(ranked.auroc(labels), torch.tensor(expected).float(), rtol=0, atol=1e-6)
    torch.testing.assert_close(ranked.auroc(~labels), 1 - ranked.auroc(labels))


def test_known_values():
    labels = torch.tensor([True, True, False, False])
    codes = torch.tensor([[1.0, 0, 0, 3], [2, 0, 1, 3], [0, 1, 0, 3], [0, 2, 0, 3]])
    assert RankedCodes.of(codes).auroc(labels).tolist() == [1, 0, 0.75, 0.5]
    assert RankedCodes.of(torch.zeros(4, 2)).auroc(labels).tolist() == [0.5, 0.5]
