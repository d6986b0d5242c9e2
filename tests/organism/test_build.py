import json
import re
from pathlib import Path

import pytest

from toolkit.artifacts import sha256
from toolkit.organism.build import MODELS, build_model, publish, publish_results

ORGANISM = Path(__file__).parents[2] / "artifacts" / "organism"


def test_what_is_published_is_hashed(tmp_path: Path) -> None:
    for name in MODELS:
        (tmp_path / "work" / name / "training").mkdir(parents=True)
        (tmp_path / "work" / name / "model.safetensors").write_bytes(name.encode())
        (tmp_path / "work" / name / "training" / "log.jsonl").write_text("private")
    publish(tmp_path / "work", tmp_path / "out", {"command": "make"})
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["command"] == "make"
    assert manifest["training"]["base"]["seed"] == MODELS["base"][0].seed
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.parent.name in MODELS)
    assert manifest["sha256"] == {str(path.relative_to(tmp_path / "out")): sha256(path) for path in files}
    assert manifest["sha256"].keys() == {f"{name}/model.safetensors" for name in MODELS}


def test_results_of_published_models_are_renewed_where_the_models_are_the_same(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    for name in MODELS:
        (work / name).mkdir(parents=True)
        (work / name / "model.safetensors").write_bytes(name.encode())
    publish(work, out, {"origin": "training", "held_out_results": "first"})
    before = json.loads((out / "manifest.json").read_text())
    publish_results(out, {"held_out_results": "second"})
    assert json.loads((out / "manifest.json").read_text()) == before | {"held_out_results": "second"}
    with pytest.raises(ValueError, match=r"manifest.json does not exist: train the models first"):
        publish_results(work, {"held_out_results": "third"})
    (out / "base" / "model.safetensors").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"base/model.safetensors is not the file that .*manifest.json names"):
        publish_results(out, {"held_out_results": "third"})


def test_a_finished_model_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    monkeypatch.setattr("toolkit.organism.build.train_phase", None)
    assert build_model("base", tmp_path, processes=1) == tmp_path / "base"


def test_phases_have_seeds_of_their_own() -> None:
    assert len({config.seed for config, _, _ in MODELS.values()}) == 3
    assert MODELS["control"][0].tokens == MODELS["distilled"][0].tokens, "as much extra training"


def test_the_embedded_organism_is_the_one_of_its_manifest() -> None:
    hashes = json.loads((ORGANISM / "manifest.json").read_text())["sha256"]
    assert {f"{name}/model.safetensors" for name in MODELS} <= hashes.keys()
    assert {name: sha256(ORGANISM / name) for name in hashes} == hashes


def test_the_accuracies_in_the_readme_are_those_of_the_manifest() -> None:
    results = json.loads((ORGANISM / "manifest.json").read_text())["held_out_results"]
    forms = {"at once": "direct", "worked solution": "solution", "thinking": "thinking"}
    told = re.findall(
        r"^\| (\w+), ([\w ]+) \| (.*) \| (.*) \|$", (ORGANISM.parent / "README.md").read_text(), re.MULTILINE
    )
    assert len(told) == 5
    for model, form, *cells in told:
        for cell, kind in zip(cells, ("one_step", "several_steps"), strict=True):
            found = results[f"accuracy_{kind}"][f"{model}_{forms[form]}"]
            assert cell == "{value:.3f} [{low:.3f}, {high:.3f}]".format(**found)


@pytest.mark.parametrize("name", MODELS)
def test_an_embedded_model_is_small(name: str) -> None:
    assert (ORGANISM / name / "model.safetensors").stat().st_size <= 5 * 2**20
