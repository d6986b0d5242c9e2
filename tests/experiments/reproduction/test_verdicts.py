"""Verdicts over the claims of all experiments of a page."""

from dataclasses import replace

from toolkit.experiments.reproduction.measure import reproduction_results
from toolkit.experiments.reproduction.verdicts import all_claims, truth_tables
from toolkit.reports.findings import Findings
from toolkit.statistics.estimates import Estimate, with_error
from toolkit.statistics.verdicts import Claim, Margin


def claim(name: str, value: float) -> Claim:
    """A claim whose margin has a standard error of .4 and 30 degrees of freedom."""
    margin = Margin(over="chance", difference=with_error(value, 0.4, 30.0))
    return Claim(name=name, effect=Estimate(value), margins=(margin,), n=31)


def part(name: str, *claims: Claim, **results: object) -> Findings:
    return Findings(
        name=name, title="", question="", facts={}, headline=[], tables=[], charts=[], claims=claims, results=results
    )


CLOSE = 0.9  # p = .032 alone
STEERING = part("steering", claim("alternative", CLOSE), seeds={"0": 1.0, "1": 2.0}, steering={}, against_chance={})
GEOMETRY = part("word_geometry", claim("alternative", CLOSE), claim("antonym", 4.0), words={}, classes={})
PARTS = {"steering": STEERING, "geometry": GEOMETRY, "layer divergence": part("layer_divergence")}


def test_claims_of_all_experiments_are_judged_together() -> None:
    """Alone on its page the first one shows; the other rows of this page take that away."""
    (table,) = truth_tables(all_claims(PARTS))
    assert [(row[0], row[-1]) for row in table.rows] == [
        ("steering: alternative", "no"), ("geometry: alternative", "no"), ("geometry: antonym", "yes")
    ]  # fmt: skip
    assert "1 of 3 show." in table.note
    assert "3 of 3 would show if each were judged alone" in table.note
    ((*_, alone),) = truth_tables(all_claims({"steering": STEERING}))[0].rows
    assert alone == "yes"


def test_results_hold_each_verdict_by_its_claim_and_each_experiment_s_seeds() -> None:
    results = reproduction_results(PARTS)
    assert results["seeds"] == {"steering": {"0": 1.0, "1": 2.0}}
    assert results["verdicts"].keys() == {"steering: alternative", "geometry: alternative", "geometry: antonym"}
    p = claim("alternative", CLOSE).p
    assert results["verdicts"]["steering: alternative"] == {"p": p, "p_adjusted": 2 * p, "shows": False}


def test_nothing_is_claimed_without_claims() -> None:
    nothing = {name: replace(each, claims=()) for name, each in PARTS.items()}
    assert truth_tables(all_claims(nothing)) == []
    assert reproduction_results(nothing)["verdicts"] == {}
