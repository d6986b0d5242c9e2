"""What is kept of logits, against loops over rows and positions."""

import pytest
import torch
from torch import Tensor

from toolkit.models.model.logit_statistics import (
    divergence_and_loss,
    divergence_and_loss_by_kind,
    extremes,
    next_log_probability,
    target_at_end,
    whole,
)


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(2, 2, 3, 7, generator=torch.Generator().manual_seed(0)).mul(3)


@pytest.fixture
def ids() -> Tensor:
    return torch.tensor([[1, 4, 6], [0, 2, 2]])


def test_a_target_after_the_last_position(logits: Tensor) -> None:
    first, other = logits
    targets = torch.tensor([5, 0])
    logit, log_probability, rank = target_at_end(first, other, targets).unbind(dim=1)
    for row, target in enumerate(targets.tolist()):
        end = other[row, -1]
        assert logit[row] == end[target]
        torch.testing.assert_close(log_probability[row], end.softmax(dim=0)[target].log())
        assert rank[row] == sorted(end.tolist(), reverse=True).index(float(end[target]))


def test_divergence_and_loss_are_sums_over_what_predicts_in_a_row(logits: Tensor, ids: Tensor) -> None:
    first, other = logits
    predicts = torch.tensor([[True, False], [True, True]])
    expected = torch.zeros(2, 2, dtype=torch.float64)
    for row, position in predicts.nonzero().tolist():
        p, q = first[row, position].double().softmax(dim=0), other[row, position].double().softmax(dim=0)
        expected[row] += torch.stack([(p * (p / q).log()).sum(), -q[ids[row, position + 1]].log()])
    torch.testing.assert_close(divergence_and_loss(first, other, ids, predicts), expected, rtol=1e-5, atol=0)
    same = divergence_and_loss(first, first, ids, predicts)
    assert not same[:, 0].any()
    torch.testing.assert_close(same[:, 1], divergence_and_loss(other, first, ids, predicts)[:, 1], rtol=0, atol=0)


def test_divergence_and_loss_are_split_by_kind_in_slices_of_any_size(
    logits: Tensor, ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = logits
    kinds = torch.tensor([[[True, False], [False, False]], [[False, True], [True, False]]])
    expected = torch.stack([divergence_and_loss(first, other, ids, each) for each in kinds.unbind(dim=1)], dim=1)
    for numbers in (1, 14, 2**24):
        monkeypatch.setattr("toolkit.models.model.logit_statistics.LARGEST", numbers)
        found = divergence_and_loss_by_kind(first, other, ids, kinds)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    assert not found[0, 1].any()


def test_the_probability_of_what_comes_next(logits: Tensor, ids: Tensor) -> None:
    found = next_log_probability(logits[0], logits[1], ids)
    assert found.shape == (2, 2)
    for row in range(2):
        for position in range(2):
            expected = logits[1, row, position].softmax(dim=0)[ids[row, position + 1]].log()
            torch.testing.assert_close(found[row, position], expected)


def test_either_end_of_the_vocabulary(logits: Tensor) -> None:
    streams = logits[0, 0]
    up, promoted, down, suppressed = extremes(streams, 5, 2)
    for line, of_stream in enumerate(streams[:, :5].tolist()):
        order = sorted(range(5), key=of_stream.__getitem__)
        assert suppressed[line].tolist() == order[:2]
        assert promoted[line].tolist() == order[::-1][:2]
        assert up[line].tolist() == [of_stream[token] for token in order[::-1][:2]]
        assert down[line].tolist() == [of_stream[token] for token in order[:2]]
    assert torch.equal(whole(streams)[0], streams)
