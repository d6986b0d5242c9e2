"""What labelled spans say of latents, and what the latents that find planted behaviours are called."""

import pytest
import torch

from toolkit.annotation.trials import TESTS
from toolkit.experiments.latent_annotation.annotate import annotate
from toolkit.experiments.latent_annotation.planted import categories_of_spans, category_of
from toolkit.experiments.run import Run
from toolkit.latents.labelled_activations import LabelledTokens


def test_spans_of_odd_documents_alone_give_a_latent_its_category():
    document = torch.arange(4).repeat_interleave(10)  # of four documents, tokens 2 to 4 are deduction, 6 a mood
    label = torch.full((40,), -1)
    place = torch.arange(40) % 10
    label[(place >= 2) & (place < 5)] = 0
    label[place == 6] = 1
    tokens = LabelledTokens(names=("deduction", "mood"), label=label, document=document)
    odd, deduction = document % 2 == 1, label == 0
    fires = [deduction & odd, deduction & ~odd, torch.ones(40, dtype=torch.bool), label == 1, ~deduction]
    codes = torch.stack(fires, dim=1).float()
    assert categories_of_spans(codes.to_sparse(), tokens) == {0: "deductive"}


def test_labels_of_spans_stand_for_categories():
    assert category_of("contrast") == "contrastive"
    assert category_of("backtracking") == category_of("self-reflection") == "self-reflection"
    assert category_of("initializing") is None


@pytest.mark.slow
def test_the_latents_that_find_planted_behaviours_best_are_called_what_they_are():
    """They are chosen on even documents; their labels know spans of odd ones. By text alone fewer are named right."""
    found = annotate(Run.open(where="cpu"), n=20)
    assert len(found.behaviours) == 5
    right, by_chance = found.named_right(blind=False)
    assert right >= 4
    assert by_chance < 1
    right, by_chance = found.named_right(blind=True)
    assert right >= 2
    assert by_chance < 1
    for test in TESTS:
        compared = found.scores.comparisons[test]
        assert min(compared.over_random.low, compared.over_shuffled.low) > 0.1
        assert compared.random.value == pytest.approx(0.5, abs=0.03)
        assert compared.shuffled.value == pytest.approx(0.5, abs=0.03)
