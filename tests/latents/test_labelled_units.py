import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from toolkit.latents.labelled_activations import LabelledTokens
from toolkit.latents.labelled_units import FALSE_ALARMS, Readout, units_for_labels

NAMES = ("doubt", "sum", "turn")
N_TOKENS, N_UNITS = 4000, 12


@pytest.fixture
def tokens() -> LabelledTokens:
    """80 documents of 50 tokens, of which each bears one of three labels or none."""
    label = torch.randint(-1, 3, (N_TOKENS,), generator=torch.Generator().manual_seed(0))
    return LabelledTokens(names=NAMES, label=label, document=torch.arange(N_TOKENS) // 50)


def noise(seed: int = 1) -> Tensor:
    return torch.randn(N_TOKENS, N_UNITS, generator=torch.Generator().manual_seed(seed))


def test_the_unit_that_is_the_truth_is_found_without_a_mistake(tokens):
    codes = noise().relu()
    for number, name in enumerate(NAMES):
        codes[:, 4 + number] = tokens.wanted(name).float()
    for number, found in enumerate(units_for_labels(codes.to_sparse(), tokens)):
        assert (found.label, found.units[0]) == (NAMES[number], 4 + number)
        assert (found.best.auroc.value, found.best.recall) == (1, 1)
        assert found.together.auroc.value == 1
        assert found.n_documents == 40


def test_noise_and_shuffled_labels_are_not_found(tokens):
    truth = torch.nn.functional.one_hot(tokens.label + 1, 4).float()
    order = torch.randperm(N_TOKENS, generator=torch.Generator().manual_seed(2))
    shuffled = LabelledTokens(names=NAMES, label=tokens.label[order], document=tokens.document)
    for found in [*units_for_labels(truth, shuffled), *units_for_labels(noise().relu(), tokens)]:
        for readout in (found.best, found.together):
            assert readout.auroc.value < 0.56
            assert readout.recall < 3 * FALSE_ALARMS


def test_units_are_chosen_on_even_documents_and_tested_on_odd_ones(tokens):
    wanted, odd = tokens.wanted("sum"), tokens.document % 2 == 1
    scores = noise()
    scores[:, 2] += 0.5 * wanted
    scores[:, 5] += wanted * odd * 9.0
    found = units_for_labels(scores, tokens)[1]
    assert found.units[0] == 2
    assert found.best.auroc.value == pytest.approx(roc_auc_score(wanted[odd], scores[odd, 2]), abs=1e-6)
    threshold = scores[~odd & ~wanted, 2].quantile(1 - FALSE_ALARMS)
    assert found.best.recall == pytest.approx(float((scores[odd & wanted, 2] > threshold).float().mean()), abs=0.005)
    assert found.n_tokens == int((wanted & odd).sum())


def test_a_unit_that_is_silent_on_the_label_is_not_the_best_alone(tokens):
    codes = noise().relu()
    codes[:, 7] = 1 - tokens.wanted("turn").float()
    found = units_for_labels(codes, tokens)[2]
    assert found.units[0] != 7
    assert 7 in found.units
    assert found.together.auroc.value > 0.99


def test_parts_of_a_label_are_put_together_rather_than_copies_of_one_part(tokens):
    part = torch.arange(N_TOKENS) % 5
    wanted = tokens.wanted("doubt")
    codes = torch.zeros(N_TOKENS, N_UNITS)
    for number in range(5):
        codes[:, number] = (wanted & (part == number)).float()
    codes[:, 5:10] = codes[:, :1] + 0.01 * noise()[:, 5:10].relu()
    found = units_for_labels(codes, tokens)[0]
    assert found.best.auroc.value < 0.65
    assert {unit for unit in found.units if 0 < unit < 5} == {1, 2, 3, 4}
    assert found.together.auroc.value > 0.99


def test_sparse_and_dense_scores_and_dead_units_give_the_same(tokens):
    codes = (noise() - 0.5).relu()
    codes[:, 3] = 0
    dense, sparse = units_for_labels(codes, tokens), units_for_labels(codes.to_sparse(), tokens)
    assert [found.units for found in dense] == [found.units for found in sparse]
    assert [found.together.auroc for found in dense] == [found.together.auroc for found in sparse]
    few = units_for_labels(codes[:, :4], tokens)
    assert all(len(found.units) == 3 and 3 not in found.units for found in few)


def test_a_readout_takes_any_score(tokens):
    wanted, odd = tokens.wanted("sum"), tokens.document % 2 == 1
    scores = noise()[:, 0] + wanted
    found = Readout.of(scores, wanted, tokens)
    assert found.auroc.value == pytest.approx(roc_auc_score(wanted[odd], scores[odd]))
    assert torch.equal(found.scores, scores[odd])


def test_labels_of_one_half_of_the_documents_cannot_be_measured(tokens):
    label = tokens.label.where(tokens.choosing | (tokens.label != 1), -1)
    assert LabelledTokens(names=NAMES, label=label, document=tokens.document).measurable == ("doubt", "turn")
    nowhere = LabelledTokens(names=NAMES, label=torch.full((N_TOKENS,), -1), document=tokens.document)
    with pytest.raises(ValueError, match="none of the labels doubt, sum, turn has tokens both in even and in odd"):
        units_for_labels(noise(), nowhere)
