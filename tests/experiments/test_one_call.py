"""Each experiment is one call with names of the package alone, and gives findings that a notebook shows."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pretended_device
import pytest

import toolkit
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.run import Run
from toolkit.settings.adapters import AdapterChoice


@pytest.fixture
def settings(run: Run, text_file: Path, organism_folders: tuple[str, str], tmp_path: Path) -> dict[str, Any]:
    """Small settings of each experiment."""
    (tmp_path / "words.csv").write_text(
        "dog,dogs\ncat,cats\nhouse,houses\ntree,trees\nbook,books\nhorse,horses\nbird,birds\nkey,keys\n"
    )
    records = tmp_path / "records.jsonl"
    records.write_text(json.dumps({"problem": "5+7?", "generations": ["12"], "is_reasoning_complete": [True]}) + "\n")
    base, distilled = organism_folders
    models = toolkit.ModelChoice(base=base, distilled=distilled)
    text, output = toolkit.TextChoice(data=str(text_file)), toolkit.FindingsOutput(out=tmp_path / "out")
    lexicon = tmp_path / "lexicon.json"
    lexicon.write_text(json.dumps({"self-reflection": ["is", "The"], "sums": ["first", "next", "plus"]}))
    small: dict[str, Any] = {"shares": (0.2,), "reference": 0.2, "targets": 5, "control_draws": 1}
    small |= {"min_nrn": 0.0, "least_lift": 0.0}
    brief: dict[str, Any] = {"new_tokens": 4, "development": 2, "test": 2, "candidates": 1, "latents": (1,)}
    return {
        "ablation": toolkit.AblationConfig(lexicon=lexicon, tokens=3072, undecided=(0.0, 1.0), **small),
        "steering": toolkit.SteeringConfig(lexicon=lexicon, tokens=500, strengths=(-0.1, 0.1), **brief),
        "adapter_latents": toolkit.AdapterLatentsConfig(tokens=500, output=output),
        "attribution": toolkit.AttributionConfig(prompt="Tom has 24 cows. Wait", compare=("base",), tested_edges=9),
        "costs": toolkit.RunCostsConfig(tokens=4096, tflops=1.0),
        "latent_classes": toolkit.LatentClassesConfig(tokens=500),
        "layer_divergence": toolkit.LayerDivergenceConfig(tokens=300, text=text),
        "stitching": toolkit.StitchingConfig(
            tokens=2000, documents=8, seeds=1, steps=0, n_problems=0, lexicon=lexicon, text=text
        ),
        "prepared_data": toolkit.PrepareConfig(data=str(records), models=models, output=output),
        "tokenizer_evaluation": toolkit.TokenizerEvaluationConfig(models=organism_folders, data=str(text_file)),
        "top_examples": toolkit.TopExamplesConfig(tokens=500, output=output),
        "word_geometry": toolkit.WordGeometryConfig(words=(str(tmp_path / "words.csv"),)),
    }


OPENED = {
    "adapter_latents": "adapter",
    "attribution": "adapter",
    "ablation": "run",
    "steering": "run",
    "latent_classes": "run",
    "top_examples": "run",
    "layer_divergence": "models",
    "stitching": "models",
    "word_geometry": "models",
}


@pytest.mark.parametrize("name", ["costs", "prepared_data", "tokenizer_evaluation", *OPENED])
def test_settings_become_findings(
    name: str, settings: dict[str, Any], run: Run, adapter_run: AdapterRun, tmp_path: Path
):
    opened = {"run": run, "models": run.models, "adapter": adapter_run}.get(OPENED.get(name, ""))
    found = toolkit.examine(settings[name], opened)
    assert found.name == name
    assert found.title in unescape(found._repr_html_())
    assert_keys_are_strings(found.results)
    found.save(tmp_path / "page")
    saved = json.loads((tmp_path / "page" / f"{name}.json").read_text())
    assert saved["question"] == found.question
    assert saved["results"].keys() == found.results.keys()


@pytest.fixture(scope="module")
def away(run: Run, adapter_folder: Path, text_file: Path, organism_folders: tuple[str, str]) -> dict[str, Any]:
    """What the experiments open, on an accelerator."""
    base, distilled = organism_folders
    with pretended_device.present():
        models = toolkit.ModelPair.from_pretrained(base=base, distilled=distilled)
        text = toolkit.TextChoice(data=str(text_file))
        adapter = AdapterRun.of(AdapterChoice(run=adapter_folder), text, toolkit.ModelChoice(), toolkit.Where())
        assert models.device == adapter.models.distilled.device == pretended_device.AWAY
    crosscoder = deepcopy(run.crosscoder).to(models.device)
    return {
        "run": replace(run, crosscoder=crosscoder, open_models=lambda: models),
        "models": models,
        "adapter": adapter,
    }


@pytest.mark.parametrize("name", OPENED)
def test_experiments_are_made_where_models_land_on_an_accelerator(
    name: str, settings: dict[str, Any], away: dict[str, Any], tmp_path: Path
):
    with pretended_device.present():
        found = toolkit.examine(settings[name], away[OPENED[name]])
        found.save(tmp_path / "page")
    assert json.loads((tmp_path / "page" / f"{name}.json").read_text())["results"].keys() == found.results.keys()


def assert_keys_are_strings(results: Any) -> None:
    if isinstance(results, Mapping):
        assert all(isinstance(key, str) for key in results)
    for each in results.values() if isinstance(results, Mapping) else results if isinstance(results, list) else ():
        assert_keys_are_strings(each)


def test_the_layers_of_a_runs_models_are_compared_on_its_text(run: Run):
    found = toolkit.examine(toolkit.LayerDivergenceConfig(tokens=300), run)
    assert found.facts["text"].startswith(f"{run.settings.text.data}, {run.corpus.part}: ")
    assert found.provenance["data"] == run.corpus.origin
