"""No recipe replaces a file that it did not write, and none writes a folder that another one writes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rank_processes import RECIPES, call_recipe, start
from torch.multiprocessing.spawn import ProcessExitedException

from toolkit.outputs import OutputFolder
from toolkit.settings.run_files import RUN

Call = Callable[..., str]


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ("train_crosscoder.py", "report.html"),
        ("train_crosscoder.py", "metrics.json"),
        ("train_crosscoder.py", "config.json"),
        ("train_crosscoder.py", "figures/training_curves.png"),
        ("train_crosscoder.py", "dictionary_learning/model.safetensors"),
        ("train_adapter.py", "adapter.safetensors"),
        ("sweep.py", "sweep.html"),
        ("sweep.py", "n-latents-48_k-8/metrics.jsonl"),
        ("ablate.py", "ablation.html"),
        ("ablate.py", "figures/ablation_effects.png"),
        ("annotate_latents.py", "labels.json"),
        ("annotate_latents.py", "latent_annotation.html"),
        ("classify_latents.py", "latent_classes.json"),
        ("evaluate_adapter.py", "adapter_evaluation.html"),
        ("evaluate_tokenizers.py", "tokenizer_evaluation.html"),
        ("geometry.py", "word_geometry.json"),
        ("harmonic_probes.py", "results.json"),
        ("layer_divergence.py", "layer_divergence.html"),
        ("make_organism.py", "base/config.json"),
        ("prepare_data.py", "train.jsonl"),
        ("prepare_data.py", "prepared_data.html"),
        ("reproduce_paper.py", "results.json"),
        ("reproduce_paper.py", "steering.html"),
        ("steer.py", "steering.html"),
        ("stitch.py", "results.json"),
        ("top_examples.py", "examples.sqlite"),
        ("top_examples.py", "latents.html"),
    ],
)
def test_a_person_s_file_is_named_before_anything_is_loaded(call: Call, tmp_path: Path, recipe: str, name: str) -> None:
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text("{}", encoding="utf-8")
    others = {"sweep.py": ["--n-latents", "48", "--k", "8"], "prepare_data.py": ["--data", "/no/such.jsonl"]}
    missing = ["--base", "/no/such", "--distilled", "/no/such"]
    models = {"make_organism.py": ["--work", tmp_path / "work"], "evaluate_tokenizers.py": ["--models", "/no/such"]}
    arguments = [*models.get(recipe, missing), *others.get(recipe, [])]
    said = call(recipe, "--out", tmp_path / "out", *arguments, code=2)
    named = name.removeprefix("n-latents-48_k-8/")
    assert f"holds files that this recipe may not replace: {named} (not written by it)" in said
    assert (tmp_path / "out" / name).read_text(encoding="utf-8") == "{}"


def test_findings_replace_their_own_and_nothing_that_was_changed(call: Call, trained: Path, tmp_path: Path) -> None:
    arguments = ["--run", trained, "--out", tmp_path / "out", "--tokens", "512"]
    (tmp_path / "out" / "figures").mkdir(parents=True)
    (tmp_path / "out" / "figures" / "mine.png").touch()
    for _ in range(2):
        call("classify_latents.py", *arguments)
    assert (tmp_path / "out" / "figures" / "mine.png").exists()
    page = tmp_path / "out" / "latent_classes.html"
    page.write_text("my notes", encoding="utf-8")
    said = call("classify_latents.py", *arguments, code=2)
    assert "latent_classes.html (changed since it was written): move them away" in said
    assert page.read_text(encoding="utf-8") == "my notes"


@pytest.mark.parametrize("manifest", [True, False])
def test_a_sweep_replaces_no_folder_outside_of_its_own(
    call: Call, run_settings: list[str], tmp_path: Path, manifest: bool
) -> None:
    folder, victim = tmp_path / "runs" / "sweep", tmp_path / "victim"
    for each in (folder, victim):
        each.mkdir(parents=True)
    (victim / "thesis.tex").touch()
    config = {"run": {"swept": {"x/../../../victim": [""], "k": ["/../../../victim", "../../victim"]}}}
    for name, content in (("config.json", config), ("provenance.json", {"command": "", "sha256": {}, "data": {}})):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    if manifest:
        with OutputFolder(folder, (RUN,)).held():
            pass
    said = call("sweep.py", *run_settings, "--n-latents", "48", "--out", folder, "--overwrite", code=2)
    assert "names crosscoders that no sweep has" in said
    assert (victim / "thesis.tex").exists()


def test_a_sweep_follows_no_link_out_of_its_folder(
    call: Call, run_settings: list[str], trained: Path, tmp_path: Path
) -> None:
    victim = shutil.copytree(trained, tmp_path / "victim")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "n-latents-48_k-8").symlink_to(victim)
    said = call("sweep.py", *run_settings, "--n-latents", "48", "--out", tmp_path / "sweep", "--overwrite", code=2)
    assert "n-latents-48_k-8 is a link" in said
    assert (victim / "crosscoder.safetensors").exists()


@pytest.mark.slow
def test_of_runs_started_at_once_in_one_folder_one_runs(run_settings: list[str], trained: Path, tmp_path: Path) -> None:
    arguments = [*run_settings, "--out", str(tmp_path / "run")]
    contexts = [start(1, call_recipe, RECIPES / "train_crosscoder.py", arguments, tmp_path / name) for name in "abc"]
    codes = []
    for context in contexts:
        try:
            while not context.join():
                pass
            codes.append(0)
        except ProcessExitedException as error:
            codes.append(error.exit_code)
    assert sorted(codes) == [0, 2, 2]
    said = "".join((tmp_path / f"{name}-0").read_text(encoding="utf-8") for name in "abc")
    assert said.count("writes to") + said.count("already holds a run") == 2
    for name in ("crosscoder.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (trained / name).read_bytes()


@pytest.mark.parametrize("more", [[], ["--resume"], ["--overwrite"]], ids=" ".join)
def test_a_run_in_a_folder_that_another_process_writes_is_refused(
    call: Call, run_settings: list[str], trained: Path, tmp_path: Path, more: list[str]
) -> None:
    folder = shutil.copytree(trained, tmp_path / "run")
    with OutputFolder(folder, (RUN,)).held():
        for recipe in ("train_crosscoder.py", "sweep.py"):
            swept = ["--n-latents", "48"] if recipe == "sweep.py" else []
            said = call(recipe, *run_settings, *swept, "--out", folder, *more, code=2)
            assert f"writes to {folder}: wait for it, or give --out another folder" in said
        call("classify_latents.py", "--run", folder, "--out", tmp_path / "classes", "--tokens", "512")
