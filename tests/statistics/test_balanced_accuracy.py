import math

import pytest
import torch

from toolkit.statistics.balanced_accuracy import balanced_accuracy


def test_both_kinds_weigh_alike_whatever_their_number():
    truth = torch.arange(120) < 100
    said = torch.ones(120, dtype=torch.bool)
    found = balanced_accuracy(said, truth, torch.arange(120))
    assert found.value == 0.5
    assert found.low < 0.5 < found.high


def test_alike_replies_in_one_document_widen_the_interval():
    chance = torch.Generator().manual_seed(0)
    truth = torch.arange(200) % 2 == 0
    right = (torch.rand(20, generator=chance) < 0.7).repeat_interleave(10)
    alone, in_documents = (
        balanced_accuracy(right == truth, truth, groups)
        for groups in (torch.arange(200), torch.arange(20).repeat_interleave(10))
    )
    assert alone.value == in_documents.value
    assert in_documents.high - in_documents.low > 1.5 * (alone.high - alone.low)


def test_a_kind_without_samples_has_no_balanced_accuracy():
    for truth, kind in ((True, "negative"), (False, "positive")):
        found = balanced_accuracy(torch.tensor([True] * 30), torch.tensor([truth] * 30), torch.arange(30))
        assert math.isnan(found.value)
        assert found.note == f"there is no {kind} sample"
    nothing = torch.zeros(0, dtype=torch.bool)
    assert math.isnan(balanced_accuracy(nothing, nothing, torch.zeros(0, dtype=torch.long)).value)


def test_few_documents_have_no_interval():
    found = balanced_accuracy(torch.ones(60, dtype=torch.bool), torch.arange(60) < 30, torch.arange(60) % 5)
    assert found.value == pytest.approx(0.5)
    assert found.low is None
    assert found.note == "5 documents: an interval needs 8"


def test_few_samples_of_one_kind_have_no_interval():
    found = balanced_accuracy(torch.ones(60, dtype=torch.bool), torch.arange(60) < 15, torch.arange(60))
    assert found.low is None
    assert found.note == "15 samples: an interval needs 20"
