"""What each recipe about an adapter says to bad input: one line, exit code 2, before anything is measured."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from toolkit.dictionaries.adapter_storage import load_adapter, save_adapter
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig

Call = Callable[..., str]
RECIPES = ["evaluate_adapter.py", "adapter_latents.py", "attribute.py", "hesitation.py"]


@pytest.fixture
def refuse(call: Call, tmp_path: Path, text_file: Path) -> Call:
    """Run a recipe with further arguments, expect exit code 2 and one line, and return what it says."""

    def run(recipe: str, *arguments: object) -> str:
        out = tmp_path / "out"
        said = call(recipe, "--data", text_file, "--device-map", "cpu", "--out", out, *arguments, code=2)
        assert said.startswith("error: ")
        assert not list(out.glob("*.html"))
        return said

    return run


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_folder_of_something_else_is_told(
    refuse: Call,
    recipe: str,
    random_crosscoder: Callable[..., object],
    organism_folders: tuple[str, str],
    tmp_path: Path,
) -> None:
    random_crosscoder().save_pretrained(tmp_path / "crosscoder")
    said = refuse(recipe, "--run", tmp_path / "crosscoder")
    assert "crosscoder holds a crosscoder, no adapter: give it to a recipe about crosscoders" in said
    assert "holds a model without transcoders: an adapter is" in refuse(recipe, "--run", organism_folders[0])
    assert "nowhere does not exist: an adapter is a folder" in refuse(recipe, "--run", tmp_path / "nowhere")


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_adapter_that_does_not_fit_its_models_is_told(
    refuse: Call, recipe: str, adapter_folder: Path, organism_folders: tuple[str, str], tmp_path: Path
) -> None:
    base, distilled = organism_folders
    models = ("--base", base, "--distilled", distilled)
    save_adapter(Adapter(AdapterConfig(d_model=16, n_layers=2, n_latents=4)), tmp_path / "shallow")
    assert "the adapter is for 2 layers of d_model 16" in refuse(recipe, "--run", tmp_path / "shallow", *models)
    assert "does not say which models its adapter was trained on" in refuse(recipe, "--run", tmp_path / "shallow")
    other = load_adapter(adapter_folder)
    other.config = replace(other.config, fingerprints=("one", "two"))
    save_adapter(other, tmp_path / "other")
    said = refuse(recipe, "--run", tmp_path / "other")
    assert "the adapter was trained on another base model" in said
    assert "--other-models" in said


@pytest.mark.parametrize("recipe", RECIPES)
def test_models_that_cannot_have_the_adapter_are_told(
    refuse: Call, recipe: str, adapter_folder: Path, save_organism_model: Callable[..., str]
) -> None:
    distilled = save_organism_model(seed=7)
    for change, said in (
        ({"hidden_size": 32}, "the models differ in width"),
        ({"num_hidden_layers": 2}, "the models differ in depth"),
        ({"intermediate_size": 24}, "has no MLP like the distilled model's"),
    ):
        base = save_organism_model(seed=8, **change)
        assert said in refuse(recipe, "--run", adapter_folder, "--base", base, "--distilled", distilled)
    same = ("--base", distilled, "--distilled", distilled)
    assert "are the same weights" in refuse(recipe, "--run", adapter_folder, *same)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("place", ["--remote", "--sequential", "--tensor-parallel"])
def test_places_are_refused_before_a_key_or_processes_are_asked_for(
    refuse: Call, recipe: str, adapter_folder: Path, place: str
) -> None:
    name = place.removeprefix("--").replace("-", "_")
    assert f"{name}: an adapted model has parts of two models" in refuse(recipe, "--run", adapter_folder, place)


@pytest.mark.parametrize("recipe", RECIPES)
def test_weights_that_are_no_numbers_are_told(refuse: Call, recipe: str, adapter_folder: Path, tmp_path: Path) -> None:
    broken = load_adapter(adapter_folder)
    broken[1].W_dec.data[3] = torch.nan
    save_adapter(broken, tmp_path / "broken")
    assert "NaN" in refuse(recipe, "--run", tmp_path / "broken")
    (tmp_path / "broken" / "adapter.safetensors").write_bytes(b"cut short")
    assert "adapter.safetensors" in refuse(recipe, "--run", tmp_path / "broken")


@pytest.mark.parametrize("recipe", ["classify_latents.py", "top_examples.py", "ablate.py", "steer.py"])
def test_recipes_about_crosscoders_tell_an_adapter(
    call: Call, recipe: str, adapter_folder: Path, tmp_path: Path
) -> None:
    said = call(recipe, "--run", adapter_folder, "--out", tmp_path / "out", code=2)
    assert "holds an adapter, no crosscoder" in said
