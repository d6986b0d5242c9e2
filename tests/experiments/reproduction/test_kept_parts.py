import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.experiments.reproduction.kept_parts import KeptPart
from toolkit.reports.findings import Findings
from toolkit.statistics.estimates import Estimate

MADE_OF = {"seed": 0, "part": {"tokens": 10, "lexicon": Path("words.json"), "shares": (0.1, 0.2)}}


def part(folder: Path, **changes: Any) -> KeptPart:
    return KeptPart.of(folder, "ablation, the paper's way", MADE_OF | changes)


@pytest.fixture
def findings() -> Findings:
    return Findings(
        name="a", title="A", question="?", facts={}, headline=[], tables=[], charts=[], results={"x": Estimate(1 / 3)}
    )


def test_a_part_is_taken_up_where_it_was_made_of_the_same(tmp_path: Path, findings: Findings) -> None:
    assert part(tmp_path).load() == (None, "")
    part(tmp_path).save(findings)
    found, why = part(tmp_path).load()
    assert why == ""
    assert found is not None
    assert found.results == findings.results
    assert [path.name for path in tmp_path.iterdir()] == ["ablation-the-paper-s-way.json"]


def test_what_changed_is_named(tmp_path: Path, findings: Findings) -> None:
    part(tmp_path).save(findings)
    found, why = part(tmp_path, part=MADE_OF["part"] | {"tokens": 11}, seed=1).load()
    assert found is None
    assert why.endswith("was made with other part.tokens, seed")
    found, why = part(tmp_path, code="abc").load()
    assert found is None
    assert why.endswith("was made with other code")


def test_a_damaged_part_is_not_taken_up(tmp_path: Path, findings: Findings) -> None:
    part(tmp_path).save(findings)
    (path,) = tmp_path.iterdir()
    whole = path.read_text()
    path.write_text(whole.replace("0.333333", "0.333334"))
    found, why = part(tmp_path).load()
    assert found is None
    assert "is not as it was written: its sha256 differs" in why
    for content in (whole[:-20], "", "[]", json.dumps({"made_of": 3})):
        path.write_text(content)
        found, why = part(tmp_path).load()
        assert found is None
        assert f"{path} cannot be used ({path} " in why
