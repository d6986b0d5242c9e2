import json

import pytest

from toolkit.experiments.found_behaviours import (
    behaviour_results,
    behaviour_table,
    information_results,
    information_table,
)
from toolkit.latents.behaviours import AboveFloor, FoundBehaviour, behaviour_claims
from toolkit.latents.span_information import LabelInformation, SpanInformation
from toolkit.reports.files import write_results
from toolkit.statistics.estimates import with_error


def reached(value: float, floor: float) -> AboveFloor:
    return AboveFloor(
        auroc=with_error(value, 0.01, 10.0),
        recall=0.3,
        by_seed={0: with_error(value - 0.01, 0.005, 40.0), 4: with_error(value + 0.01, 0.005, 40.0)},
        floor=with_error(floor, 0.005, 40.0),
        margin=with_error(value - floor, 0.01, 10.0),
    )


@pytest.fixture
def found() -> list[FoundBehaviour]:
    """One behaviour that five latents find, and one that nothing finds."""
    return [
        FoundBehaviour(
            behaviour=name,
            latents={0: (5, 2, 1, 8, 9), 4: (7, 1, 2, 3, 4)},
            one=reached(0.62, 0.61),
            together=reached(together, 0.65),
            ceiling=with_error(0.99, 0.001, 40.0),
            firing_rate=0.02,
            n_tokens=300,
            n_documents=40,
        )
        for name, together in (("doubt", 0.8), ("turn", 0.66))
    ]


def test_the_table_has_each_label_twice_between_floor_and_ceiling(found):
    table = behaviour_table(found, "12 documents.")
    cells = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["label"], row["read from"], row["shows"]) for row in cells] == [
        ("doubt", "5, 7", "no"), ("turn", "5, 7", "no"), ("doubt", "5 latents", "yes"), ("turn", "5 latents", "no"),
    ]  # fmt: skip
    assert table.note.startswith("12 documents. 1 of 4 show.")
    for row in cells:
        assert row["p"] <= row["adjusted p"] <= 1
        assert row["floor"].value + row["difference"].value == pytest.approx(row["AUROC"].value)
        assert row["ceiling"].value == 0.99


def test_labels_are_judged_with_the_other_claims_of_the_page(found):
    alone = behaviour_table(found)
    together = behaviour_table(found, beside=behaviour_claims(found) * 3)
    assert "Holm, over the 16 claims" in together.note
    adjusted = [min(row[-2] for row in table.rows) for table in (alone, together)]
    assert 0 < adjusted[0] < adjusted[1]
    assert len(together.rows) == len(alone.rows) == 4


def test_results_hold_every_seed(found, tmp_path):
    results = behaviour_results(found)
    assert results["behaviours"][0].items() >= {"behaviour": "doubt", "latent": 5, "auroc": 0.62}.items()
    assert results["behaviours"][1]["seeds"]["4"].items() >= {"latent": 7, "latents": [7, 1, 2, 3, 4]}.items()
    assert results["floor"]["doubt"].value == 0.61
    assert [verdict["shows"] for verdict in results["verdicts"]] == [False, False, True, False]
    write_results(tmp_path / "results.json", results)
    assert json.loads((tmp_path / "results.json").read_text())["ceiling"]["turn"]["value"] == 0.99


def test_where_the_information_is_has_a_column_for_each_number_of_latents(tmp_path):
    read = with_error(0.9, 0.01, 40.0)
    label = LabelInformation(
        label="doubt", of_variance=0.008, streams=read, reconstruction=read, error=read, by_latents={1: read, 5: read}
    )
    information = SpanInformation(labels=[label], variance_of_tokens=0.75)
    table = information_table(information)
    assert len(table.rows[0]) == len(table.columns)
    assert table.rows[0][-3:] == [read, None, None], "a crosscoder of few latents has no more"
    assert "75%" in table.note
    write_results(tmp_path / "results.json", information_results(information))
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["information"]["doubt"]["by_latents"].keys() == {"1", "5"}


def test_nothing_found_is_no_error():
    assert behaviour_results([])["behaviours"] == []
