import pytest
import torch
from scipy.special import logit, stdtrit
from sklearn.metrics import roc_auc_score
from torch import Tensor

from toolkit.statistics.auroc import Spread, auroc_difference, auroc_estimate, auroc_over_seeds

N_DOCUMENTS = 15


def sample(n_documents: int = N_DOCUMENTS) -> tuple[Tensor, Tensor, Tensor]:
    """Scores that are often silent, labels, and documents of 10 to 40 tokens, not in their order."""
    generator = torch.Generator().manual_seed(0)
    documents = torch.arange(n_documents).repeat_interleave(torch.randint(10, 40, (n_documents,), generator=generator))
    documents = documents[torch.randperm(len(documents), generator=generator)]
    labels = torch.rand(len(documents), generator=generator) < 0.3
    scores = torch.relu(torch.randn(len(documents), generator=generator) + labels).mul(4).round()
    return scores, labels, documents


def naive(scores: Tensor, labels: Tensor, documents: Tensor) -> Tensor:
    """AUROC without each document."""
    kept = [documents != document for document in documents.unique()]
    return torch.tensor([roc_auc_score(labels[each], scores[each]) for each in kept])


def jackknife_error(without: Tensor) -> float:
    return float(without.var(correction=0) * (len(without) - 1)) ** 0.5


def test_the_value_and_its_error_agree_with_a_naive_loop_over_documents():
    scores, labels, documents = sample()
    found = auroc_estimate(scores, labels, documents * 7 + 3)
    assert found.value == pytest.approx(roc_auc_score(labels, scores))
    of_odds = jackknife_error(naive(scores, labels, documents)) / (found.value * (1 - found.value))
    reach = stdtrit(found.freedom, 0.975) * of_odds
    assert logit([found.low, found.high]) == pytest.approx([logit(found.value) - reach, logit(found.value) + reach])
    assert found.p_above(found.low) == pytest.approx(0.05)


def test_a_difference_loses_the_same_document_in_both():
    scores, labels, documents = sample()
    noisy = scores + torch.randn(len(scores), generator=torch.Generator().manual_seed(1))
    found = auroc_difference(scores, noisy, labels, documents)
    assert found.value == pytest.approx(roc_auc_score(labels, scores) - roc_auc_score(labels, noisy))
    paired = naive(scores, labels, documents) - naive(noisy, labels, documents)
    assert found.error == pytest.approx(jackknife_error(paired))
    assert found.error < auroc_estimate(noisy, labels, documents).error
    assert auroc_difference(scores, scores, labels, documents).p_above(0.0) == 1


def test_a_score_without_a_mistake_still_has_a_lower_end():
    _, labels, documents = sample()
    found = auroc_estimate(labels.float(), labels, documents)
    assert (found.value, found.high) == (1, 1)
    assert 0.7 < found.low < 0.9
    assert found.p_above(found.low) == pytest.approx(0.05)


def test_documents_without_labelled_tokens_add_no_freedom():
    scores, labels, documents = sample(40)
    few = labels & (documents < 9)
    assert auroc_estimate(scores, few, documents).freedom <= 8 < auroc_estimate(scores, labels, documents).freedom


def test_few_documents_with_labelled_tokens_have_no_interval():
    scores, labels, documents = sample(40)
    found = auroc_estimate(scores, labels & (documents < 7), documents)
    assert found.low is None
    assert found.note == "7 documents with labelled tokens: an interval needs 8"
    assert auroc_difference(scores, -scores, labels & (documents < 7), documents).note == found.note
    one_each = torch.zeros_like(labels)
    for document in range(12):
        one_each[(documents == document).nonzero()[0]] = True
    assert auroc_estimate(scores, one_each, documents).note == "12 labelled tokens: an interval needs 20"


@pytest.mark.parametrize(("labelled", "message"), [(False, "0 of 4 tokens"), (True, "4 of 4 tokens")])
def test_labels_of_one_kind_are_refused(labelled: bool, message: str):
    with pytest.raises(ValueError, match=message):
        auroc_estimate(torch.rand(4), torch.full((4,), labelled), torch.arange(4))


def test_one_seed_has_the_error_of_its_documents():
    scores, labels, documents = sample()
    noisy = scores + torch.randn(len(scores), generator=torch.Generator().manual_seed(1))
    found = auroc_over_seeds(scores[None], labels, documents)
    assert found.value == pytest.approx(roc_auc_score(labels, scores))
    alone = auroc_estimate(scores, labels, documents)
    assert (found.low, found.high, found.error) == pytest.approx((alone.low, alone.high, alone.error))
    difference = auroc_over_seeds(scores[None], labels, documents, less=noisy[None])
    expected = auroc_difference(scores, noisy, labels, documents)
    assert (difference.value, difference.error, difference.freedom) == pytest.approx(
        (expected.value, expected.error, expected.freedom)
    )


def test_how_seeds_and_draws_differ_is_added_to_how_documents_do():
    scores, labels, documents = sample()
    generator = torch.Generator().manual_seed(2)
    a, b = (scores + size * torch.randn(rows, len(scores), generator=generator) for size, rows in ((2, 3), (9, 5)))
    found = auroc_over_seeds(a, labels, documents, less=b)
    values = [torch.tensor([roc_auc_score(labels, row) for row in rows]) for rows in (a, b)]
    assert found.value == pytest.approx(float(values[0].mean() - values[1].mean()))
    without = [torch.stack([naive(row, labels, documents) for row in rows]).mean(dim=0) for rows in (a, b)]
    variance = jackknife_error(without[0] - without[1]) ** 2 + float(values[0].var() / 3 + values[1].var() / 5)
    assert found.error == pytest.approx(variance**0.5)
    assert 2 < found.freedom < 2 + 4 + N_DOCUMENTS


def test_how_seeds_differ_is_pooled_over_labels():
    scores, labels, documents = sample()
    rows = scores + 2 * torch.randn(3, len(scores), generator=torch.Generator().manual_seed(2))
    spread = Spread.pooled([torch.tensor([0.5, 0.6, 0.7]), torch.tensor([0.6, 0.6, 0.6])])
    assert spread is not None
    assert (spread.variance, spread.freedom) == (pytest.approx(0.005), 4)
    alone, pooled = (auroc_over_seeds(rows, labels, documents, less=rows[:1], spread=each) for each in (None, spread))
    own = float(torch.tensor([roc_auc_score(labels, row) for row in rows]).var())
    assert pooled.error**2 - alone.error**2 == pytest.approx((0.005 - own) / 3, rel=1e-4)
    of_one_label = auroc_over_seeds(rows, labels, documents, less=rows[:1], spread=Spread(0.005, 2))
    assert of_one_label.error == pytest.approx(pooled.error)
    assert of_one_label.freedom < pooled.freedom
    assert Spread.pooled([torch.tensor([0.5])]) is None


def test_seeds_without_a_mistake_are_not_certain():
    _, labels, documents = sample()
    found = auroc_over_seeds(labels.float().expand(3, -1), labels, documents)
    alone = auroc_estimate(labels.float(), labels, documents)
    assert (found.value, found.low, found.high) == (alone.value, alone.low, alone.high)
    assert found.low < 1


def test_few_documents_have_no_interval_over_seeds():
    scores, labels, documents = sample(6)
    found = auroc_over_seeds(scores.expand(3, -1), labels, documents)
    assert found.low is None
    assert "6 documents" in found.note
