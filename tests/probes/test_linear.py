import pytest
import torch
from sklearn.metrics import roc_auc_score

from toolkit.probes.linear import linear_probe, mean_difference

GENERATOR = torch.Generator().manual_seed(0)
WANTED = torch.rand(3000, generator=GENERATOR) < 0.1
LOUD = torch.randn(3000, 1, generator=GENERATOR)
# The label stands in one number; a louder one that knows nothing of it hides it, and comes alone as the last.
X = torch.cat([WANTED[:, None] + 0.2 * torch.randn(3000, 1, generator=GENERATOR) + 2 * LOUD, 2 * LOUD], dim=1)


def test_a_probe_finds_what_the_difference_of_means_does_not():
    assert roc_auc_score(WANTED, X @ linear_probe(X, WANTED)) > 0.99
    assert roc_auc_score(WANTED, X @ mean_difference(X, WANTED)) < 0.9


def test_the_difference_of_means_is_that():
    expected = X[WANTED].double().mean(dim=0) - X[~WANTED].double().mean(dim=0)
    torch.testing.assert_close(mean_difference(X, WANTED).double(), expected, rtol=1e-3, atol=1e-3)


def test_a_number_that_never_changes_has_no_part_in_the_probe():
    constant = torch.cat([X, torch.full((3000, 1), 7.0)], dim=1)
    direction = linear_probe(constant, WANTED)
    assert direction.isfinite().all()
    assert roc_auc_score(WANTED, constant @ direction) > 0.99


def test_one_kind_of_token_is_refused():
    with pytest.raises(ValueError, match="class"):
        linear_probe(X, torch.ones_like(WANTED))
