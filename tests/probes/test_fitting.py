import warnings

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from toolkit.leaving_out import TooFewError
from toolkit.library_warnings import ToolkitWarning
from toolkit.probes import choosing
from toolkit.probes.choosing import balanced_cross_entropy
from toolkit.probes.fitting import fit_harmonic, fit_logistic

CLASSES = ("a", "b", "c")
FITS = pytest.mark.parametrize("fit", [fit_logistic, fit_harmonic])
MEANS = 3 * torch.eye(3, 12)


def sample(per_class=(80, 80, 80), seed=0, spread=1.0):
    """Classes about their means, in documents of ten tokens that hold all classes."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.repeat_interleave(torch.arange(len(per_class)), torch.tensor(per_class))
    x = MEANS[y] + spread * torch.randn(len(y), 12, generator=generator)
    return x, y, torch.randint(len(y) // 10, (len(y),), generator=generator)


@FITS
def test_a_probe_tells_classes_of_documents_that_it_never_saw(fit):
    probe = fit(*sample(), classes=CLASSES)
    x, y, _ = sample(seed=1)
    assert probe.classes == CLASSES
    assert probe.accuracy(x, y) > 0.93
    torch.testing.assert_close(probe.log_probabilities(x).exp().sum(dim=1), torch.ones(240, dtype=torch.float64))


@FITS
def test_two_classes_are_enough(fit):
    probe = fit(*sample((60, 60)), classes=CLASSES[:2])
    x, y, _ = sample((60, 60), seed=1)
    assert probe.accuracy(x, y) > 0.93


@FITS
def test_labels_at_random_are_told_at_chance(fit):
    x, y, documents = sample()
    probe = fit(x, y[torch.randperm(240, generator=torch.Generator().manual_seed(3))], documents, classes=CLASSES)
    assert abs(probe.accuracy(*sample(seed=1)[:2]) - 1 / 3) < 0.2


@FITS
def test_a_seed_gives_one_probe(fit):
    first, again = (fit(*sample(), classes=CLASSES, seed=4) for _ in range(2))
    x = sample(seed=1)[0]
    assert torch.equal(first.log_probabilities(x), again.log_probabilities(x))


@FITS
def test_units_and_origin_of_the_activations_change_nothing(fit):
    x, y, documents = sample()
    new = sample(seed=1)[0]
    plain = fit(x, y, documents, classes=CLASSES).log_probabilities(new)
    moved = fit(1000 * x - 500, y, documents, classes=CLASSES).log_probabilities(1000 * new - 500)
    torch.testing.assert_close(moved, plain, rtol=0, atol=1e-2)


@FITS
def test_rare_classes_weigh_as_much_as_frequent_ones(fit):
    probe = fit(*sample((400, 400, 20), spread=2.0), classes=CLASSES)
    x, y, _ = sample((300, 300, 300), seed=1, spread=2.0)
    said = probe.log_probabilities(x).argmax(dim=1)
    assert (said[y == 2] == 2).double().mean() > 0.5
    assert (said == y).double().mean() == pytest.approx(probe.accuracy(x, y))


@FITS
def test_fewer_examples_than_dimensions_are_fitted(fit):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(40) % 2
    x = torch.randn(40, 200, generator=generator)
    x[:, 0] += 30 * y
    assert fit(x, y, torch.arange(40) // 4, classes=CLASSES[:2]).accuracy(x, y) == 1


@FITS
def test_activations_all_alike_tell_nothing(fit):
    x, y, documents = sample()
    alike = torch.full_like(x, 0.1)
    found = fit(alike, y, documents, classes=CLASSES).log_probabilities(alike).exp()
    torch.testing.assert_close(found, torch.full_like(found, 1 / 3), rtol=0, atol=1e-3)


def test_the_logistic_probe_is_that_of_another_library():
    x, y, documents = sample()
    probe = fit_logistic(x, y, documents, classes=CLASSES)
    metric = choosing.Metric(spread=choosing.Spread.of(x), shrinkage=probe.shrinkage)
    inside = metric.to(x)
    peer = LogisticRegression(C=1 / (2 * probe.penalty), max_iter=1000, tol=1e-8).fit(inside.numpy(), y)
    expected = torch.from_numpy(peer.predict_log_proba(inside.numpy()))
    torch.testing.assert_close(probe.log_probabilities(x).exp(), expected.exp(), rtol=0, atol=0.01)


def test_the_loss_is_the_mean_over_the_classes_that_are_there():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).double()
    y = torch.tensor([0, 0, 0, 0, 2, 2])
    each = -logits.log_softmax(dim=1)[torch.arange(6), y]
    torch.testing.assert_close(balanced_cross_entropy(logits, y), (each[:4].mean() + each[4:].mean()) / 2)


def test_the_directions_and_the_bias_are_in_raw_units():
    x, y, documents = sample()
    probe = fit_logistic(x, y, documents, classes=CLASSES)
    logits = x.double() @ probe.directions.T + probe.bias
    torch.testing.assert_close(probe.log_probabilities(x), logits.log_softmax(dim=1))


def test_harmonic_centres_are_points_of_the_activations_near_their_class():
    x, y, documents = sample()
    probe = fit_harmonic(100 + 5 * x, y, documents, classes=CLASSES)
    means = torch.stack([(100 + 5 * x[y == each]).mean(dim=0) for each in range(3)]).double()
    distance = torch.cdist(probe.centres, means)
    assert torch.equal(distance.argmin(dim=1), torch.arange(3))
    assert distance.diagonal().max() < distance[~torch.eye(3, dtype=torch.bool)].min()
    assert torch.equal(probe.log_probabilities(probe.centres).argmax(dim=1), torch.arange(3))


def test_a_harmonic_probe_has_the_exponent_that_was_asked_for():
    assert fit_harmonic(*sample(), classes=CLASSES, exponent=5.0).exponent == 5.0
    assert fit_harmonic(*sample(), classes=CLASSES).exponent in (12**0.5, 12.0)
    with pytest.raises(ValueError, match="exponent"):
        fit_harmonic(*sample(), classes=CLASSES, exponent=0.0)


def test_a_fit_that_does_not_converge_says_so(monkeypatch):
    monkeypatch.setattr(choosing, "STEPS", 1)
    with pytest.warns(ToolkitWarning, match="did not converge"):
        fit_logistic(*sample(), classes=CLASSES)
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_logistic(*sample(), classes=CLASSES)


@FITS
def test_what_cannot_be_fitted_is_named(fit):
    x, y, documents = sample()
    with pytest.raises(TooFewError, match="'c' has 9 examples, and a probe needs 10"):
        fit(*sample((30, 30, 9)), classes=CLASSES)
    with pytest.raises(ValueError, match="all 80 labels are 'b'"):
        fit(x[:80], torch.ones(80, dtype=torch.long), documents[:80], classes=CLASSES)
    with pytest.raises(ValueError, match="from 0 to 1"):
        fit(x, y, documents, classes=CLASSES[:2])
    with pytest.raises(ValueError, match="1 of 240 activations hold NaN"):
        fit(torch.where(torch.arange(240)[:, None] == 5, torch.nan, x), y, documents, classes=CLASSES)
    with pytest.raises(TooFewError, match="'a' stands in 1 document,"):
        fit(x, y, y, classes=CLASSES)


@FITS
def test_a_probe_like_another_has_its_settings_and_is_the_same_on_the_same_examples(fit):
    given, others = sample(), sample((20, 20, 20), seed=2, spread=2.0)
    chosen = fit(*given, classes=CLASSES)
    again, other = (fit(*each, classes=CLASSES, like=chosen) for each in (given, others))
    assert (other.penalty, other.shrinkage) == (chosen.penalty, chosen.shrinkage)
    torch.testing.assert_close(again.log_probabilities(given[0]), chosen.log_probabilities(given[0]))


def test_no_more_of_a_class_is_fitted_than_needed_to_choose_settings():
    x, y, _ = sample((30, 100, 7))
    thinned = choosing.Examples(x=x, y=y).thinned(30)
    assert thinned.y.bincount().tolist() == [30, 25, 7]
    assert torch.equal(thinned.x[30:32], x[[30, 34]])
