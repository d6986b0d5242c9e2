"""Intervals contain the truth about as often as they say, for samples as recipes have them."""

import pytest
from simulated_coverage import Kind, coverage, kinds

KINDS = list(kinds())
LEAST, MOST = 0.92, 0.995


def named(kind: Kind) -> str:
    return f"{kind.name}, {kind.n}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_every_kind_of_interval_covers_the_truth(kind: Kind):
    assert LEAST <= coverage(kind, 1500) <= MOST


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.cost == 1 and kind.n.startswith("8 ")], ids=named)
def test_intervals_of_eight_documents_cover_the_truth(kind: Kind):
    """The slow test draws more samples; of these 300, a share may be off by three times .013."""
    assert coverage(kind, 300) >= LEAST - 0.04
