import json
from dataclasses import replace

import pytest
import torch

from toolkit.experiments.compare_methods import CompareMethodsConfig
from toolkit.experiments.compare_methods.measure import check_models, read_labels
from toolkit.experiments.compare_methods.methods import DEFAULT
from toolkit.experiments.compare_methods.page import page
from toolkit.experiments.compare_methods.study import DENSE, SPARSE
from toolkit.models.pair import ModelPair


def test_every_method_finds_units_of_every_label_on_both_pairs(compared):
    for pair in (compared.pair, compared.null):
        assert set(pair.floors) == {SPARSE, DENSE}
        for method in pair.methods.values():
            assert method.any_unit.keys() == set(pair.tokens.measurable) == pair.floors[SPARSE].keys()
            assert all(0 <= found.auroc.value <= 1 for found in method.any_unit.values())
    assert compared.ceilings.keys() == set(compared.pair.tokens.measurable)


def test_the_null_pair_uses_the_plans_that_the_pair_chose(compared):
    for name, method in compared.pair.methods.items():
        assert compared.null.methods[name].plan == method.plan
        assert compared.null.methods[name].configurations == 1
    assert compared.pair.methods[DEFAULT].configurations == 2
    assert compared.pair.methods[DEFAULT].plan.k in (2, 4)


def test_each_seed_has_units_of_its_own(compared):
    found = next(iter(compared.pair.methods[DEFAULT].any_unit.values()))
    assert len(found.units) == 2
    assert found.spread > 0
    assert next(iter(compared.pair.methods["PCA of the difference"].any_unit.values())).spread is None


def test_results_have_the_agreed_form(settings, pair, compared):
    results = page(settings, pair, compared).results
    behaviours = set(compared.pair.tokens.measurable)
    assert {"methods", "floor", "ceiling", "null", "adjusted"} <= results.keys()
    for name, by_behaviour in results["methods"].items():
        assert by_behaviour.keys() == behaviours
        for found in by_behaviour.values():
            assert {"auroc", "auroc_low", "auroc_high", "recall", "seconds"} <= found.keys()
            assert found["auroc_low"] is None or found["auroc_low"] < found["auroc"] < found["auroc_high"]
        assert by_behaviour["deduction"]["auroc_low"] is not None
        assert results["adjusted"][name].keys() == behaviours
        assert 0 <= results["null"][name] <= len(behaviours)
    assert results["floor"].keys() == results["ceiling"].keys() == behaviours
    json.dumps(results["methods"][DEFAULT], default=vars)


def test_the_page_shows_methods_between_floor_and_ceiling(settings, pair, compared):
    findings = page(settings, pair, compared)
    auroc, *_ = findings.tables
    assert [row[0] for row in auroc.rows] == [
        f"floor: {SPARSE}", f"floor: {DENSE}", *compared.pair.methods, "ceiling: linear probe"
    ]  # fmt: skip
    assert [chart.name for chart in findings.charts] == list(compared.pair.tokens.measurable)
    advice = next(table for table in findings.tables if table.title == "What to use for which question")
    assert {row[1] for row in advice.rows} <= {*compared.pair.methods, "none"}
    assert len(findings.claims) == 3 * len(compared.pair.tokens.measurable)


def test_without_a_control_nothing_is_said_of_false_discoveries(settings, pair, compared):
    alone = replace(compared, null=None, null_source="no control was named: give --control")
    findings = page(settings, pair, alone)
    assert findings.results["null"] == {}
    assert findings.facts["null pair"] == "no control was named: give --control"
    assert "false discoveries" not in {row.name for row in findings.headline}


def test_models_without_known_truth_need_labels(pair):
    with pytest.raises(ValueError, match="nothing is known to be planted in these models: give labelled documents"):
        read_labels(CompareMethodsConfig(), pair)


def test_few_labelled_documents_are_refused(settings, pair):
    with pytest.raises(ValueError, match=r"^15 labelled documents: .* give 16 or more$"):
        read_labels(replace(settings, documents=15), pair)
    assert len(read_labels(replace(settings, documents=16), pair).documents) == 16


def test_a_file_without_labels_is_refused(settings, pair, tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_text('{"text": "nothing", "spans": []}\n' * 20)
    with pytest.raises(ValueError, match="holds no labelled spans"):
        read_labels(replace(settings, labels=path), pair)


def test_several_layers_are_refused(organism_folders):
    deep = ModelPair.from_pretrained(
        base=organism_folders[0], distilled=organism_folders[1], layers=[1, 2], where="cpu"
    )
    with pytest.raises(ValueError, match="two models at one layer, but 2 are read at the input of layers 1, 2"):
        check_models(deep)


def test_effects_are_of_every_method_with_directions(compared):
    assert set(compared.effects) == {DEFAULT, "PCA of the difference"}
    for effects in compared.effects.values():
        assert effects.removed.keys() == effects.specific.keys() <= set(compared.pair.tokens.measurable)
        assert effects.steered.keys() == effects.length.keys() == set(compared.pair.tokens.measurable)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"k": (20,), "n_latents": (16,)}, "k 20 is more than n_latents 16"),
        ({"k": ()}, "a dictionary needs a size and a sparsity"),
        ({"seeds": 0}, "seeds 0"),
    ],
)
def test_impossible_settings_are_refused(settings, changes, said):
    with pytest.raises(ValueError, match=said):
        replace(settings, **changes)


def test_the_directions_are_those_of_the_last_model(compared):
    method = compared.pair.methods[DEFAULT]
    assert all(vector.shape == (16,) and torch.isfinite(vector).all() for vector in method.directions.values())
