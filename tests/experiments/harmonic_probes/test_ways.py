"""Changes toward a class are as long as they say, and point where they say."""

import pytest
import torch

from toolkit.experiments.harmonic_probes.centres import ClassPoints
from toolkit.experiments.harmonic_probes.ways import CENTRE, LOGISTIC, MEANS, POINT, Site, TwoClasses

WIDTH, DRAWS = 8, 2
STRENGTHS = (-0.2, 0.1)


@pytest.fixture
def points() -> ClassPoints:
    chance = torch.Generator().manual_seed(0)
    kinds = [torch.randn(DRAWS, 2, WIDTH, generator=chance, dtype=torch.float64) for _ in range(3)]
    return ClassPoints(
        classes=("hesitation", "another word"),
        **dict(zip(("harmonic", "means", "logistic"), kinds, strict=True)),
        spread=torch.ones(DRAWS, dtype=torch.float64),
    )


@pytest.fixture
def site() -> Site:
    streams = 3 * torch.randn(50, WIDTH, generator=torch.Generator().manual_seed(1))
    return Site(layer=2, streams=streams)


def test_the_class_that_is_steered_toward_is_found_by_name(points):
    two = TwoClasses.of("next_is_hesitation", points)
    assert (two.away, two.toward) == ("another word", "hesitation")
    torch.testing.assert_close(two.centres[:, 1], points.harmonic[:, 0])
    torch.testing.assert_close(two.directions[MEANS], points.means[:, 0] - points.means[:, 1])


def test_all_changes_are_equally_long_on_average(points, site):
    edits = TwoClasses.of("next_is_hesitation", points).edits(site, STRENGTHS)
    assert {way for (way, _), _ in edits} == {CENTRE, POINT, LOGISTIC, MEANS}
    assert {draw for (_, draw), _ in edits} == set(range(DRAWS))
    for (_, strength), edit in edits.items():
        change = edit(site.streams[None])[0] - site.streams
        length = float(change.norm(dim=1).mean())
        assert length == pytest.approx(abs(strength) * float(site.streams.norm(dim=1).mean()), rel=1e-4)


def test_a_move_to_a_point_comes_nearer_to_it_and_a_shift_follows_its_direction(points, site):
    two = TwoClasses.of("next_is_hesitation", points)
    edits = two.edits(site, STRENGTHS)
    for strength, toward in ((-0.2, 0), (0.1, 1)):
        centre = two.centres[1, toward].float()
        moved = edits[(POINT, 1), strength](site.streams[None])[0]
        before, after = ((streams - centre).norm(dim=1) for streams in (site.streams, moved))
        torch.testing.assert_close(after / before, (after / before)[:1].expand(50))
        assert (after < before).all()
        change = edits[(CENTRE, 1), strength](site.streams[None])[0] - site.streams
        along = torch.cosine_similarity(change, two.directions[CENTRE][1].float()[None], dim=1)
        torch.testing.assert_close(along, torch.full((50,), 1.0 if strength > 0 else -1.0))
