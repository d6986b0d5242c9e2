import pytest

from toolkit.statistics.estimates import Estimate, with_error
from toolkit.statistics.verdicts import Claim, Margin, judge


def claim(*differences: float, least: float = 0.0) -> Claim:
    margins = tuple(Margin(over="control", difference=with_error(each, 1.0, 30.0), least=least) for each in differences)
    return Claim(name="it falls", effect=Estimate(differences[0]), margins=margins, n=31)


def test_a_claim_is_as_uncertain_as_its_most_uncertain_margin():
    assert claim(5.0, 1.0).p == claim(1.0).p > claim(5.0).p
    assert claim(-3.0).p == 1
    assert claim(5.0, least=5.0).p == 1


def test_the_p_value_agrees_with_the_interval():
    edge = with_error(1.0, 0.5, 12.0)
    assert edge.p_above(edge.low) == pytest.approx(0.05)


def test_several_claims_are_adjusted_by_holm():
    verdicts = judge([claim(2.2), claim(4.0), claim(2.3)])
    ps = [each.claim.p for each in verdicts]
    assert [each.p_adjusted for each in verdicts] == pytest.approx([2 * ps[2], 3 * ps[1], 2 * ps[2]])
    assert [each.shows for each in verdicts] == [False, True, False]
    assert judge([claim(2.2)])[0].shows  # alone it would show


def test_what_has_no_interval_does_not_show():
    margin = Margin(over="control", difference=Estimate(9.0, note="3 documents: an interval needs 8"))
    alone = Claim(name="it falls", effect=Estimate(9.0), margins=(margin,), n=3)
    assert not judge([alone])[0].shows
    assert not judge([Claim(name="it falls", effect=Estimate(9.0), margins=(), n=3)])[0].shows
