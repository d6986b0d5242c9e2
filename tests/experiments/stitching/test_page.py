"""The stitching page says what the study holds, in numbers that a reader can check."""

from dataclasses import replace

import pytest

from toolkit.experiments.stitching import StitchingConfig
from toolkit.experiments.stitching.found import StitchingFound
from toolkit.experiments.stitching.page import page
from toolkit.experiments.stitching.study import StitchingStudy
from toolkit.experiments.stitching.tables import cut_table, kind_table, training_table
from toolkit.models.pair import ModelPair
from toolkit.reports.findings import Findings, Table
from toolkit.stitching.maps import identity_map
from toolkit.stitching.trained import Look, Trained


def training(*losses: float) -> Trained:
    """A training that was looked at every 1,000 tokens."""
    looks = tuple(Look(step=number, tokens=1000 * number, loss=loss) for number, loss in enumerate(losses))
    return Trained(map=identity_map(2), losses=(), looks=looks, seconds=2.0)


@pytest.fixture
def findings(pair: ModelPair, study: StitchingStudy) -> Findings:
    return page(StitchingConfig(), pair, StitchingFound(study=study, trained={}, answers={}))


def titled(findings: Findings, title: str) -> Table:
    return next(table for table in findings.tables if table.title.startswith(title))


def test_the_headline_sets_the_ridge_beside_the_other_maps_and_the_controls(
    findings: Findings, study: StitchingStudy
) -> None:
    rows = {row.name: row for row in findings.headline}
    there = rows["KL, base → distilled"]
    assert there.value == study.at_middle("base_to_distilled").cost("ridge")
    assert "identity 3.29, mean shift 2.21, orthogonal 0.33, trained 0.02" in there.note
    assert rows["KL, base → distilled, hesitation"].n == 48
    assert rows["rank needed, distilled → base"].value == 8
    assert rows["KL, distilled → distilled"].value == 0
    assert rows["KL, base → control"].note.endswith("without distillation, by the ridge")


def test_a_map_that_was_tried_at_one_cut_alone_has_a_gap_at_the_others(study: StitchingStudy) -> None:
    table = cut_table(study, "base_to_distilled")
    column = list(table.columns).index("trained from zero")
    assert [row[0] for row in table.rows] == ["1", "3"]
    assert [row[column] for row in table.rows] == [
        None,
        study.at_middle("base_to_distilled").cost("trained_from_zero"),
    ]


def test_a_front_of_another_depth_is_named_by_its_layer_too(study: StitchingStudy) -> None:
    cuts = {cut: replace(each, front_layer=2 * cut) for cut, each in study.directions["base_to_distilled"].items()}
    deeper = replace(study, directions={**study.directions, "base_to_distilled": cuts})
    assert [row[0] for row in cut_table(deeper, "base_to_distilled").rows] == ["1 (base's 2)", "3 (base's 6)"]


def test_excess_cross_entropy_is_said_to_mislead_where_the_receiver_cannot_predict_the_text(
    study: StitchingStudy,
) -> None:
    assert "distilled as it is: 1.50 nats a token. Below 0" in cut_table(study, "base_to_distilled", "ce").note
    lost = {cut: replace(each, loss=5 * each.tokens) for cut, each in study.directions["base_to_distilled"].items()}
    lost_study = replace(study, directions={**study.directions, "base_to_distilled": lost})
    for table in (cut_table(lost_study, "base_to_distilled", "ce"), kind_table(lost_study, "base_to_distilled", "ce")):
        assert "5.00 nats a token, more than a uniform guess (3.91): it cannot predict" in table.note


def test_kinds_that_no_document_has_are_left_out(study: StitchingStudy) -> None:
    table = kind_table(study, "base_to_distilled")
    assert [row[:2] for row in table.rows] == [["prompt", 240], ["thinking", 960], ["hesitation", 48], ["answer", 192]]
    assert "other text" not in table.note


def test_the_controls_are_exactly_0_where_nothing_changes(findings: Findings) -> None:
    table = titled(findings, "Controls")
    column = list(table.columns).index("distilled → distilled, identity")
    assert [row[column] for row in table.rows] == [0, 0]


def test_training_says_when_it_is_as_good_as_the_ridge(study: StitchingStudy) -> None:
    from_ridge = [training(1.0, 0.9), training(1.1, 1.0)]
    reaching, short = training(5.0, 2.0, 0.95), training(5.0, 1.2)
    by_map = {"trained": from_ridge, "trained_from_zero": [reaching, short]}
    table = training_table(study, {"base_to_distilled": by_map})
    assert [row[-1] for row in table.rows] == [0, "not reached by 1 of 2"]
    assert [row[2:5] for row in table.rows] == [[1.05, 0.95, 1000], [5.0, 1.075, 1500]]


def test_without_a_ridge_or_ranks_there_is_still_a_page(pair: ModelPair, study: StitchingStudy) -> None:
    bare = {
        name: {
            cut: replace(each, maps={"identity": each.maps["identity"]}, ranks={}, from_identity={})
            for cut, each in cuts.items()
        }
        for name, cuts in study.directions.items()
    }
    found = StitchingFound(study=replace(study, directions=bare), trained={}, answers={})
    findings = page(StitchingConfig(maps=("identity",)), pair, found)
    assert [chart.name for chart in findings.charts] == ["kl_by_cut", "kl_by_kind", "excess_ce_by_cut"]
    assert [row.name for row in findings.headline] == ["KL, distilled → distilled"]
