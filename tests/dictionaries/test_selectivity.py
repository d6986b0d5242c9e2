import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from toolkit.dictionaries.selectivity import RankedCodes, auroc_interval


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


def interval(scores: Tensor, labels: Tensor, documents: Tensor, seed: int = 0, **options):
    return auroc_interval(scores, labels, documents, generator=torch.Generator().manual_seed(seed), **options)


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


def test_the_interval_s_middle_agrees_with_sklearn():
    codes, labels = sample()
    documents = torch.arange(len(labels)) // 50
    for scores in codes.T:
        auroc, low, high = interval(scores, labels, documents)
        assert auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
        assert low <= auroc <= high


def test_resampling_documents_agrees_with_a_naive_loop():
    codes, labels = sample(300)
    documents = torch.arange(300) // 20
    scores = codes[:, 0]
    draws = torch.randint(15, (200, 15), generator=torch.Generator().manual_seed(3))
    naive = []
    for draw in draws:
        rows = torch.cat([torch.arange(300)[documents == d] for d in draw])
        naive.append(roc_auc_score(labels[rows], scores[rows]))
    low, high = torch.tensor(naive, dtype=torch.float32).quantile(torch.tensor([0.025, 0.975])).tolist()
    found = interval(scores, labels, documents, seed=3, resamples=200)
    assert found[1:] == pytest.approx((low, high), abs=1e-6)


def test_the_interval_is_seeded():
    codes, labels = sample()
    documents = torch.arange(len(labels)) // 50
    first, again, other = (interval(codes[:, 0], labels, documents, seed) for seed in (1, 1, 2))
    assert first == again
    assert first[0] == other[0]
    assert first[1:] != other[1:]


def test_tokens_that_hang_together_widen_the_interval():
    codes, labels = sample(200)
    scores = codes[:, 0]
    apart = interval(scores.repeat(10), labels.repeat(10), torch.arange(2000))
    together = interval(scores.repeat(10), labels.repeat(10), torch.arange(200).repeat(10))
    assert together[0] == pytest.approx(apart[0])
    assert together[2] - together[1] > 2 * (apart[2] - apart[1])


@pytest.mark.parametrize(("labelled", "message"), [(False, "0 of 4 tokens"), (True, "4 of 4 tokens")])
def test_labels_of_one_kind_are_refused(labelled, message):
    with pytest.raises(ValueError, match=message):
        interval(torch.rand(4), torch.full((4,), labelled), torch.arange(4))
