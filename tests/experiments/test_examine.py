"""One call takes an experiment from its settings to its findings."""

import json
from pathlib import Path

import pytest

from toolkit.experiments.ablation import AblationConfig
from toolkit.experiments.examine import examine, publish
from toolkit.experiments.run import Run
from toolkit.models.where import Where
from toolkit.reports.findings import Findings
from toolkit.settings.findings import FindingsOutput


@pytest.fixture
def settings(tmp_path: Path) -> AblationConfig:
    lexicon = tmp_path / "words.json"
    lexicon.write_text(json.dumps({"pause": ["First", "next"], "turn": ["is", "The"]}))
    return AblationConfig(
        lexicon=lexicon, tokens=3072, targets=5, shares=(0.2,), reference=0.2, undecided=(0.0, 1.0), min_nrn=0.0,
        least_lift=0.0, control_draws=1, seed=4, output=FindingsOutput(out=tmp_path / "out"),
        where=Where(device_map="cpu"),
    )  # fmt: skip


def test_settings_become_findings_that_say_where_they_came_from(settings: AblationConfig, run: Run, capsys):
    found = examine(settings, run)
    assert isinstance(found, Findings)
    assert found.name == "ablation"
    assert found.provenance["seed"] == 4
    assert found.provenance["models"].keys() == {"base", "distilled"}
    assert str(settings.lexicon) in found.provenance["sha256"]
    assert capsys.readouterr().out == ""
    assert not settings.output.out.exists()


def test_what_is_published_is_what_was_found(settings: AblationConfig, run: Run, capsys, monkeypatch):
    monkeypatch.setattr("toolkit.experiments.opening.open_named", lambda *_: run)
    publish(settings)
    written = json.loads((settings.output.out / "ablation.json").read_text())
    found = examine(settings, run)
    assert written["results"]["ablation"]["pause"]["distilled"] == found.results["ablation"]["pause"]["distilled"]
    assert written["provenance"] == found.provenance
    shown = capsys.readouterr().out
    assert found.title in shown
    assert "Where the time went" in shown
