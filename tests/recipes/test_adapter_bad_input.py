"""What each recipe about an adapter says to bad input: one line, exit code 2, before anything is measured."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import CONFIGS

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


def test_training_refuses_models_that_are_no_pair(
    refuse: Call, save_organism_model: Callable[..., str], save_model: Callable[..., Path]
) -> None:
    distilled = save_organism_model(seed=7)

    def said(base: object, distilled: object = distilled, *arguments: object) -> str:
        return refuse("train_adapter.py", "--base", base, "--distilled", distilled, "--n-latents", 8, *arguments)

    assert "the models differ in width" in said(save_organism_model(seed=8, hidden_size=32))
    assert "the models differ in depth" in said(save_organism_model(seed=8, num_hidden_layers=2))
    assert "are the same weights" in said(distilled)
    for kind, cause in (("gpt2", "has no gated MLP"), ("gemma2", "beside its layers")):
        one, other = (save_model(CONFIGS[kind], seed=seed) for seed in (1, 2))
        assert cause in said(one, other, "--row-length", 16)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--remote"], "remote: an adapted model has parts of two models"),
        (["--sequential"], "sequential: an adapted model has parts of two models"),
        (["--row-length", "600"], "--row-length 600 exceeds the model's context of 512 tokens: lower it to that"),
        (["--lr-warmup-share", "1"], "lr_warmup_share 1.0: must be at least 0, and below 1"),
        (["--sparsity-coefficient", "-1"], "sparsity_coefficient -1.0: must be 0"),
    ],
)
def test_training_refuses_settings_that_cannot_be(
    refuse: Call, organism_folders: tuple[str, str], arguments: list[str], words: str
) -> None:
    base, distilled = organism_folders
    given = ("--base", base, "--distilled", distilled, "--n-latents", 8, "--row-length", 64)
    assert words in refuse("train_adapter.py", *given, *arguments)


def test_training_refuses_rows_beyond_a_window(refuse: Call, save_organism_model: Callable[..., str]) -> None:
    window = {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1}
    base, distilled = (save_organism_model(seed=seed, **window) for seed in (1, 2))
    given = ("--base", base, "--distilled", distilled, "--n-latents", 8, "--row-length", 33)
    assert "--row-length 33 exceeds the 32 tokens that some layers see at once" in refuse("train_adapter.py", *given)


@pytest.mark.parametrize("content", ["", '{"text": ""}\n' * 40])
def test_training_refuses_data_without_text(
    call: Call, organism_folders: tuple[str, str], tmp_path: Path, content: str
) -> None:
    base, distilled = organism_folders
    (tmp_path / "empty.jsonl").write_text(content)
    given = ("--base", base, "--distilled", distilled, "--data", tmp_path / "empty.jsonl", "--out", tmp_path / "run")
    said = call("train_adapter.py", *given, "--n-latents", 8, "--row-length", 64, code=2)
    assert "empty.jsonl" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt", " "], "prompt ' ' holds no word: give a text"),
        (["--prompt", ""], "prompt '' holds no word: give a text"),
        (["--prompt", "It is", "--target", ""], "target '' is no token: give a word of one token"),
        (["--prompt", "It is", "--target", "Wait 24"], "target 'Wait 24' is 4 tokens"),
        (["--prompt", "It " * 600], "exceeds the model's context of 512 tokens: attribute a shorter prompt"),
        (["--node-threshold", "0"], "node_threshold 0.0: must be above 0, and at most 1"),
        (["--edge-threshold", "1.5"], "edge_threshold 1.5: must be above 0, and at most 1"),
        (["--compare", "hybrid", "hybrid"], "compare hybrid hybrid: name each once"),
    ],
)
def test_attribution_refuses_prompts_words_and_thresholds(
    refuse: Call, adapter_folder: Path, arguments: list[str], words: str
) -> None:
    assert words in refuse("attribute.py", "--run", adapter_folder, *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--run", "/no/such"], "/no/such"),
        (["--remote"], "remote: NDIF is not asked for gradients: leave out --remote"),
        (["--targets", "3"], "targets 3: must be at least 4"),
        (["--category", "doubtful"], "category 'doubtful' is not in the lexicon: choose from"),
        (["--lexicon", "/no/such.json"], "/no/such.json"),
        (["--undecided", "0.9", "0.1"], "undecided"),
        (["--top", "0"], "top 0: must be at least 1"),
    ],
)
def test_attribution_of_a_crosscoder_refuses_in_one_line(
    refuse: Call, trained: Path, arguments: list[str], words: str
) -> None:
    assert words in refuse("attribute_crosscoder.py", "--run", trained, *arguments)


@pytest.mark.slow
def test_an_adapter_whose_latents_are_all_dead_is_evaluated_and_told(
    call: Call, adapter_folder: Path, text_file: Path, tmp_path: Path
) -> None:
    dead = load_adapter(adapter_folder)
    for transcoder in dead.transcoders:
        transcoder.b_enc.data.fill_(-1e6)
    save_adapter(dead, tmp_path / "dead")
    given = ("--run", tmp_path / "dead", "--data", text_file, "--out", tmp_path / "out", "--device-map", "cpu")
    said = call("evaluate_adapter.py", *given, *"--tokens 400 --test 3 --new-tokens 4".split())
    assert "all latents are dead" in said
    assert "all latents are dead" in (tmp_path / "out" / "adapter_evaluation.html").read_text()


@pytest.mark.parametrize(
    "recipe", ["classify_latents.py", "top_examples.py", "ablate.py", "steer.py", "attribute_crosscoder.py"]
)
def test_recipes_about_crosscoders_tell_an_adapter(
    call: Call, recipe: str, adapter_folder: Path, tmp_path: Path
) -> None:
    said = call(recipe, "--run", adapter_folder, "--out", tmp_path / "out", code=2)
    assert "holds an adapter, no crosscoder" in said
