import math

import pytest
import torch

from toolkit.statistics.balanced_accuracy import balanced_accuracy, balanced_over_seeds


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


def test_classes_weigh_alike_and_one_seed_of_two_classes_is_the_balanced_accuracy():
    chance = torch.Generator().manual_seed(0)
    truth, groups = torch.arange(200) < 40, torch.arange(200) % 25
    right = torch.rand(200, generator=chance) < 0.8
    found = balanced_over_seeds(right[None].double(), truth.long(), groups)
    beside = balanced_accuracy(right == truth, truth, groups)
    assert found.value == pytest.approx(beside.value)
    assert found.high - found.low == pytest.approx(beside.high - beside.low, rel=0.2)


def test_scores_that_are_alike_within_classes_have_no_error_whatever_documents_hold():
    truth = torch.arange(90) % 3 % 2
    found = balanced_over_seeds((truth == 0)[None].double(), truth, torch.arange(90) // 7)
    assert found.value == pytest.approx(0.5)
    assert found.low is None
    assert found.note == "no two documents differ: an interval needs some that do"


def test_the_interval_over_seeds_contains_how_they_vary():
    truth, groups = torch.arange(90) % 3, torch.arange(90) // 6
    right = (torch.rand(90, generator=torch.Generator().manual_seed(0)) < 0.7).double()
    alike = balanced_over_seeds(right.expand(3, -1), truth, groups)
    other = balanced_over_seeds(torch.stack([right, 0.5 * right, 0.75 * right]), truth, groups)
    assert other.value == pytest.approx(0.75 * alike.value)
    assert other.high - other.low > alike.high - alike.low
