"""The whole measurement on tiny models: which maps are measured where, and bad input."""

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.experiments.stitching import StitchingConfig
from toolkit.experiments.stitching.claims import claims
from toolkit.experiments.stitching.found import StitchingFound
from toolkit.experiments.stitching.measure import measure
from toolkit.experiments.stitching.results import results
from toolkit.experiments.stitching.study import StitchingStudy
from toolkit.models.pair import ModelPair
from toolkit.models.sources import find_sources
from toolkit.reports.files import as_results
from toolkit.settings.findings import TextChoice
from toolkit.settings.models import StitchedModels
from toolkit.statistics.verdicts import judge
from toolkit.stitching.opening import StitchableModels

TEXT = TextChoice(data="organism")
QUICK = {"text": TEXT, "documents": 12, "tokens": 2400, "seeds": 2, "n_problems": 0}


@pytest.fixture(scope="module")
def found(pair: ModelPair, organism_control: str) -> StitchingFound:
    settings = StitchingConfig(**QUICK, steps=3, models=StitchedModels(control=organism_control))
    return measure(settings, pair)


@pytest.fixture(scope="module")
def study(found: StitchingFound) -> StitchingStudy:
    return found.study


def test_every_direction_is_cut_at_every_layer_and_the_control_at_the_middle(study: StitchingStudy) -> None:
    assert {name: list(cuts) for name, cuts in study.directions.items()} == {
        "base_to_distilled": [0, 1, 2],
        "distilled_to_base": [0, 1, 2],
        "self": [0, 1, 2],
        "self_base": [0, 1, 2],
        "base_to_control": [1],
    }
    assert study.documents == 12
    assert len(study.fitted_tokens) == 2
    tokens = study.at_middle("self").tokens
    assert all(cut.tokens.equal(tokens) for cuts in study.directions.values() for cut in cuts.values())
    assert study.at_middle("self").n("hesitation") > 0


def test_a_model_before_itself_by_the_identity_costs_exactly_nothing(study: StitchingStudy) -> None:
    for direction in ("self", "self_base"):
        for cut in study.directions[direction].values():
            assert not cut.maps["identity"].ce.any()
            assert not cut.maps["identity"].kl.any()
            assert cut.maps["ridge"].kl.any()
            assert "mean_shift" not in cut.maps  # which is the identity


def test_all_fits_are_measured_at_the_middle_and_one_at_other_cuts(study: StitchingStudy) -> None:
    middle, other = study.at_middle("base_to_distilled"), study.directions["base_to_distilled"][2]
    assert {name: len(cost.ce) for name, cost in middle.maps.items()} == {
        "identity": 2, "mean_shift": 2, "orthogonal": 2, "ridge": 2, "trained": 1, "trained_from_zero": 1,
    }  # fmt: skip
    assert {name: len(cost.ce) for name, cost in other.maps.items()} == dict.fromkeys(
        ("identity", "mean_shift", "orthogonal", "ridge"), 1
    )
    assert middle.maps["identity"].ce[0].equal(middle.maps["identity"].ce[1])
    assert not middle.maps["ridge"].ce[0].equal(middle.maps["ridge"].ce[1])
    assert list(middle.ranks) == [1, 2, 4, 8]
    assert middle.from_identity["identity"] == 0 < middle.from_identity["ridge"]
    assert middle.explained["identity"] < middle.explained["mean_shift"] < middle.explained["ridge"] < 1
    assert not other.ranks
    assert len(study.at_middle("base_to_control").maps["ridge"].ce) == 2


def test_the_training_of_maps_is_kept(found: StitchingFound) -> None:
    assert list(found.trained) == ["base_to_distilled", "distilled_to_base"]
    assert {tuple(maps) for maps in found.trained.values()} == {("trained", "trained_from_zero")}


def test_both_directions_answer_problems_through_a_ridge(pair: ModelPair) -> None:
    asked = {**QUICK, "seeds": 1, "n_problems": 2, "problems": "organism", "new_tokens": 6}
    answers = measure(StitchingConfig(**asked, maps=("ridge",), cuts=(1,), steps=0), pair).answers
    assert {name: (each.front, each.rest, each.cut) for name, each in answers.items()} == {
        "base_to_distilled": ("base", "distilled", 1),
        "distilled_to_base": ("distilled", "base", 1),
    }
    assert all("ridge" in each.measured.arms for each in answers.values())


def test_results_have_the_form_that_is_documented(found: StitchingFound) -> None:
    written = as_results(results(found))
    for direction in ("base_to_distilled", "distilled_to_base", "self"):
        assert set(written["excess_ce"][direction]) == {"0", "1", "2"}
        assert {"value", "low", "high"} <= written["excess_ce"][direction]["1"]["ridge"].keys()
    assert written["excess_ce"]["self"]["1"]["identity"]["value"] == 0
    kinds = written["excess_ce_by_kind"]["base_to_distilled"]["1"]["ridge"]
    assert {"prompt", "thinking", "hesitation", "answer", "other text"} >= kinds.keys() >= {"thinking"}


def test_claims_are_of_the_middle_cut_and_can_be_judged(study: StitchingStudy) -> None:
    verdicts = judge(claims(study))
    assert len(verdicts) == 6
    assert verdicts[-1].claim.n == study.at_middle("base_to_distilled").n("hesitation")
    assert {len(each.claim.margins) for each in verdicts} == {1, 3}


def test_models_of_other_width_and_depth_leave_maps_out_by_name(
    organism_folders: tuple[str, str], save_organism_model: Callable[..., str]
) -> None:
    wide = save_organism_model(seed=4, hidden_size=24, num_hidden_layers=5)
    models = StitchableModels.open(find_sources({"base": organism_folders[0], "distilled": wide}), where="cpu")
    study = measure(StitchingConfig(**{**QUICK, "seeds": 1}, cuts=(1, 2), steps=0), models).study
    assert list(study.left_out) == ["identity", "mean_shift", "orthogonal"]
    assert "these have 16 and 24" in study.left_out["identity"]
    forward, back = study.directions["base_to_distilled"], study.directions["distilled_to_base"]
    assert {cut.cut: cut.front_layer for cut in forward.values()} == {1: 1, 2: 1}
    assert {cut.cut: cut.front_layer for cut in back.values()} == {1: 2, 2: 3}
    assert list(forward[1].maps) == ["ridge"]
    assert not forward[1].from_identity
    assert [len(each.maps) for each in study.directions["self"].values()] == [1, 1]


def test_a_cut_that_is_not_there_is_refused_before_anything_is_read(pair: ModelPair) -> None:
    with pytest.raises(ValueError, match="layer 3 is out of range"):
        measure(StitchingConfig(**QUICK, cuts=(3,)), pair)


def test_too_few_tokens_for_a_ridge_are_refused_with_how_many_it_needs(save_organism_model: Callable[..., str]) -> None:
    base, distilled = (save_organism_model(seed=seed, hidden_size=160, num_hidden_layers=1) for seed in (1, 2))
    pair = ModelPair.from_pretrained(base=base, distilled=distilled, layers=[0], where="cpu")
    with pytest.raises(ValueError, match="tokens fit a ridge between streams, and a stream of width 160 needs 322"):
        measure(StitchingConfig(**{**QUICK, "tokens": 8}, steps=0), pair)


def test_text_too_short_for_a_ridge_is_enough_where_none_is_asked_for(save_organism_model: Callable[..., str]) -> None:
    base, distilled = (save_organism_model(seed=seed, hidden_size=160, num_hidden_layers=1) for seed in (1, 2))
    pair = ModelPair.from_pretrained(base=base, distilled=distilled, layers=[0], where="cpu")
    found = measure(StitchingConfig(**{**QUICK, "tokens": 8}, maps=("identity", "mean_shift"), steps=0), pair)
    assert [*found.study.at_middle("base_to_distilled").maps] == ["identity", "mean_shift"]


def test_documents_of_a_file_fit_maps_or_are_measured(pair: ModelPair, text_file: Path) -> None:
    settings = StitchingConfig(
        **{**QUICK, "text": TextChoice(data=str(text_file))}, maps=("ridge",), cuts=(1,), steps=0
    )
    study = measure(settings, pair).study
    assert "read whole" in study.text
    assert study.documents == 12
