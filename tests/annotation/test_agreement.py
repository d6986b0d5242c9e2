"""Cohen's κ against the table of its definition."""

import pytest

from toolkit.annotation.agreement import kappa


def test_kappa_is_agreement_beyond_chance():
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed .7, by chance .5, so .4 (Cohen's own kind of table)
    pairs = [("domain", "domain")] * 20 + [("domain", "language")] * 5
    pairs += [("language", "domain")] * 10 + [("language", "language")] * 15
    first, second = zip(*pairs, strict=True)
    found = kappa(first, second)
    assert found.value == pytest.approx(0.4)
    assert found.low is not None
    assert found.low < 0.4 < (found.high or 0)
    assert found.low == pytest.approx(0.15, abs=0.05)  # the error of Fleiss, Cohen & Everitt 1969 is .129


def test_equal_labels_have_a_kappa_of_1_and_labels_at_random_about_0():
    some = ["domain", "language", "formatting", "deductive"] * 6
    assert kappa(some, some).value == pytest.approx(1)
    shifted = [*["domain"] * 12, *["language"] * 12]
    assert kappa(shifted, ["domain", "language"] * 12).value == pytest.approx(0)


def test_one_category_alone_has_no_kappa():
    found = kappa(["domain"] * 10, ["domain"] * 10)
    assert found.low is None
    assert "one category alone" in found.note


def test_why_kappa_has_no_value_or_interval_is_said():
    alone, both = kappa([], []), kappa([*["domain"] * 9, "language"], [*["domain"] * 9, "language"])
    assert alone.note == "no latent was labelled by both"
    assert both.value == pytest.approx(1)
    assert both.note == "but for one latent both give one category alone"


@pytest.mark.parametrize("second", [["domain", "language"] * 10, ["domain"] * 20])
def test_where_no_latent_changes_kappa_its_interval_is_not_a_point(second):
    found = kappa(["domain", "language"] * 10, second)
    assert found.low is None
    assert "no latent changes it" in found.note


def test_few_latents_have_no_interval():
    assert kappa(["domain", "language"], ["domain", "domain"]).low is None
