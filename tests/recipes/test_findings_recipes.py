"""The recipes that read a crosscoder, as a user starts them: what they write and say, and how they refuse.

Models and crosscoder are tiny and all but untrained: numbers are checked for where they come from, not for their size.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.reports.findings import written
from toolkit.statistics.estimates import Estimate

pytestmark = pytest.mark.filterwarnings("ignore:base and distilled are the same weights")  # one model will do here

Call = Callable[..., str]
QUICK = {
    "ablate.py": "--tokens 5000 --targets 9 --shares .05 .3 --reference .3 --control-draws 1 --min-nrn 0"
    " --least-lift 0 --undecided 0 1",
    "classify_latents.py": "--tokens 3000",
    "steer.py": "--tokens 2000 --new-tokens 12 --development 3 --test 4 --candidates 2 --strengths -1 .5 1"
    " --category sums",
    "top_examples.py": "--tokens 2000 --top 3 --sampled 4",
}


@pytest.fixture(autouse=True)
def _shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress of short work is shown too."""
    monkeypatch.setattr("toolkit.reports.console.SOON", 0.0)


@pytest.fixture
def examine(call: Call, trained: Path, lexicon: Path, tmp_path: Path) -> Call:
    """Run a recipe on the tiny run, with little of everything, and the organism's text."""

    def run(recipe: str, *arguments: object, code: int | None = None) -> str:
        given = ("--run", trained, "--data", "organism", "--out", tmp_path / "out", "--lexicon", lexicon)
        return call(recipe, *given, *QUICK[recipe].split(), *arguments, code=code)

    return run


@pytest.fixture
def dead(trained: Path, tmp_path: Path) -> Path:
    """The tiny run's crosscoder, latent 5 of which never fires."""
    folder = tmp_path / "with a dead latent"
    shutil.copytree(trained, folder)
    crosscoder = Crosscoder.from_pretrained(trained)
    crosscoder.b_enc[5] = -1e6
    crosscoder.save_pretrained(folder)
    return folder


def results(folder: Path, name: str) -> dict:
    """The JSON of results, once page and figures are seen to be there."""
    assert (folder / f"{name}.html").read_text().startswith("<!doctype html>")
    for figure in (folder / "figures").glob("*"):
        assert figure.name.startswith(f"{name}_")
        assert figure.read_bytes()[:4] == b"\x89PNG"
    return json.loads((folder / f"{name}.json").read_text())


def test_ablate(examine: Call, organism_folders: tuple[str, str], trained: Path, tmp_path: Path) -> None:
    said = examine("ablate.py")
    assert "ablation: counting firings 100%" in said
    assert "ablation: looking for words 100%" in said
    assert "ablation: taking latents out 100% 3 of 3 words" in said
    content = results(tmp_path / "out", "ablation")
    assert len(list((tmp_path / "out" / "figures").glob("*.png"))) >= 3
    inputs = {f"{folder}/model.safetensors" for folder in organism_folders}
    inputs |= {f"{trained}/crosscoder.safetensors", str(tmp_path / "words.json")}
    assert content["provenance"]["sha256"].keys() == inputs
    for category, found in content["results"]["ablation"].items():
        assert found["n"] == 9 < found["found"]
        by_arm = found["by_share"]["30 %"]
        assert found["distilled"] == by_arm["chosen"]["distilled"]["value"]
        value, ends = written(Estimate(**found["intervals"]["distilled"]))
        shown = " ".join(filter(None, (value, ends)))
        assert f"{shown} 9 positions of {found['n_documents']} documents" in said
        assert f"{category}, distilled: logits, " in said
        assert found["distilled"] not in (found["base"], found["control_distilled"], found["random_distilled"])
    assert content["results"]["off_target"].keys() == {
        f"{edited} on {measured}"
        for edited in ("self-reflection", "sums")
        for measured in ("self-reflection", "sums", "other words")
    }
    assert "warning" not in said
    assert "the page has 4 more tables" in said


def test_ablate_as_in_the_paper(examine: Call, tmp_path: Path) -> None:
    said = examine("ablate.py", "--paper")
    content = results(tmp_path / "out", "ablation")["results"]
    assert content["settings"]["taken out"].startswith("prefix positions, of the reconstruction")
    assert content["settings"]["chosen by"].startswith("quantile on the token position")
    assert "all occurrences" in said


def test_classify_latents(examine: Call, trained: Path, tmp_path: Path) -> None:
    said = examine("classify_latents.py")
    assert "latent classes: reading text 100%" in said
    content = results(tmp_path / "out", "latent_classes")["results"]
    norms = Crosscoder.from_pretrained(trained, device="cpu").W_dec.abs().sum(dim=2)
    nrn = norms[:, 1] / norms.sum(dim=1)
    torch.testing.assert_close(torch.tensor(content["latents"]["nrn"]), nrn)
    alive = torch.tensor(content["latents"]["frequency"]) > 0
    assert f"mean NRN {nrn[alive].mean():.3f}" in said
    assert f"{int(alive.sum())} alive latents" in said


def test_top_examples(examine: Call, tmp_path: Path) -> None:
    said = examine("top_examples.py")
    assert "top examples: reading text 100%" in said
    assert "top examples: writing pages 100%" in said
    content = results(tmp_path / "out", "top_examples")["results"]
    assert content["tokens"] >= 2000
    assert f"{len(content['latents'])} are shown" in said
    assert (tmp_path / "out" / "examples.sqlite").stat().st_size > 0
    assert (tmp_path / "out" / "latents.html").read_text().startswith("<!doctype html>")


def test_steer(examine: Call, tmp_path: Path) -> None:
    said = examine("steer.py", "--temperature", "1")
    assert "steering: reading text 100%" in said
    assert "steering: answering 100%" in said
    content = results(tmp_path / "out", "steering")["results"]
    arms = content["steering"]["sums"]
    assert [arm["strength"] for arm in arms] == [-1, 0, 0.5, 1]
    assert {arm["n"] for arm in arms} == {4}
    assert all(0 < arm["length"] <= 12 for arm in arms)
    (latent,) = content["against_chance"]["sums"]["latents"]
    assert f"latent {latent} by strength" in said
    assert "the page has 1 more table" in said
    page = (tmp_path / "out" / "steering.html").read_text()
    assert "how directions were picked" in page
    assert "how directions were picked" not in said

    examine("steer.py", "--temperature", "1")
    assert results(tmp_path / "out", "steering")["results"] == content, "the same seed, the same answers"
    examine("steer.py", "--latents", str(latent), "--suppress")
    (arms,) = results(tmp_path / "out", "steering")["results"]["steering"].values()
    assert [arm["strength"] for arm in arms] == [-1, -0.5, 0]


@pytest.mark.parametrize(
    ("recipe", "arguments", "parts"),
    [
        ("classify_latents.py", ["--tokens", "0"], ["tokens 0", "at least 1"]),
        ("classify_latents.py", ["--labels", "/no/such.jsonl"], ["/no/such.jsonl"]),
        ("steer.py", ["--latents", "64"], ["latent 64 does not exist", "latents 0 to 63"]),
        ("steer.py", ["--latents", "-1"], ["latent -1 does not exist", "latents 0 to 63"]),
        ("steer.py", ["--strengths", "nan", "1"], ["strength nan", "finite"]),
        ("steer.py", ["--strengths", "0", "1"], ["strength 0", "always run"]),
        ("steer.py", ["--strengths", "1"], ["strengths (1.0,)", "at least two"]),
        ("steer.py", ["--category", "doubt"], ["'doubt'", "self-reflection, sums"]),
        ("steer.py", ["--temperature", "nan"], ["temperature nan", "must be 0"]),
        ("steer.py", ["--new-tokens", "600"], ["600 new", "context of 512", "fewer new tokens"]),
        ("steer.py", ["--new-tokens", "0"], ["new_tokens 0", "at least 1"]),
        ("steer.py", ["--development", "5000"], ["--development 5000", "leaves 0 to test on"]),
        ("steer.py", ["--test", "1"], ["test 1", "at least 2"]),
        ("steer.py", ["--questions", "/no/such.jsonl"], ["/no/such.jsonl", "cannot be read as json (No such file"]),
        ("top_examples.py", ["--latents", "3", "64"], ["latent 64 does not exist", "latents 0 to 63"]),
        ("top_examples.py", ["--latents", "three"], ["three"]),
    ],
    ids=lambda value: " ".join(value[:2]) if value[0].startswith("--") else "",
)
def test_impossible_settings_are_refused(
    examine: Call, tmp_path: Path, recipe: str, arguments: list[str], parts: list[str]
) -> None:
    said = examine(recipe, *arguments, code=2)
    assert [part for part in parts if part not in said] == []
    assert not list((tmp_path / "out").glob("*.html"))


def test_a_dead_latent_is_named(examine: Call, dead: Path) -> None:
    for recipe in ("steer.py", "top_examples.py"):
        said = examine(recipe, "--run", dead, "--other-models", "--latents", "5", code=2)
        assert re.search(r"5\b.* on none of [\d,]+ held-out tokens", said)
        assert "dead" in said


@pytest.mark.parametrize(
    ("recipe", "content", "parts"),
    [
        ("ablate.py", '{"a": ["is", 3]}', ["category 'a'", "at least one word"]),
        ("classify_latents.py", "{}", ["holds no categories"]),
        ("steer.py", "self-reflection: Wait", ["cannot be read as JSON", '{"category": ["word", …]}']),
        ("top_examples.py", '{"a": []}', ["category 'a'", "at least one word"]),
        *((recipe, '{"b": ["Wait, no"]}', ["'b'", "single token", "give other words"]) for recipe in QUICK),
    ],
    ids=lambda value: value if isinstance(value, str) and value in QUICK else "",
)
def test_a_lexicon_of_no_use_is_refused(
    examine: Call, lexicon: Path, recipe: str, content: str, parts: list[str]
) -> None:
    lexicon.write_text(content)
    said = examine(recipe, code=2)
    assert [part for part in parts if part not in said] == []


@pytest.mark.parametrize("recipe", ["ablate.py", "classify_latents.py", "top_examples.py"])
def test_a_category_without_single_tokens_is_left_out_with_a_word(examine: Call, lexicon: Path, recipe: str) -> None:
    lexicon.write_text('{"sums": ["first", "next", "plus"], "b": ["Wait, no"]}')
    said = examine(recipe)
    assert re.search(r"Left out category why ─+ b ", said)
    assert "single token of this tokenizer; give other words" in said


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("How much is 1+1?", ["line 2: it is not JSON"]),
        ('{"text": "1+1?"}', ["line 2 has no question", "text"]),
        (json.dumps({"question": "1 " * 600}), ["a prompt of", "exceeds the model's context of 512", "shorten"]),
    ],
    ids=["no JSON", "no question", "too long"],
)
def test_questions_of_no_use_are_refused(examine: Call, tmp_path: Path, line: str, parts: list[str]) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(
        "\n".join(['{"question": "1+1?", "answer": "2"}', line, *(f'{{"question": "2+{i}?"}}' for i in range(8))])
    )
    said = examine("steer.py", "--questions", path, code=2)
    assert [part for part in parts if part not in said] == []


@pytest.mark.parametrize("recipe", QUICK)
def test_a_folder_without_a_crosscoder_is_refused(examine: Call, tmp_path: Path, recipe: str) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "not there"):
        said = examine(recipe, "--run", tmp_path / folder, code=2)
        assert str(tmp_path / folder) in said.replace("\n", "")
        assert "crosscoder" in said


def test_a_crosscoder_of_other_models_is_refused_by_both_names(
    examine: Call, organism_folders: tuple[str, str], save_organism_model: Callable[..., str]
) -> None:
    base, distilled = organism_folders
    wide = save_organism_model(seed=3, hidden_size=32)
    said = examine("ablate.py", "--base", wide, "--distilled", wide, code=2)
    assert f"trained on width 16, the models {wide} and {wide} have width 32" in said
    said = examine("ablate.py", "--base", distilled, "--distilled", base, code=2)
    assert f"trained on {base} and {distilled}, but {distilled} and {base} are given" in said
    assert "--other-models" in said
    examine("classify_latents.py", "--base", distilled, "--distilled", base, "--other-models")


def test_a_crosscoder_of_a_layer_that_the_models_lack_is_refused(
    examine: Call, save_organism_model: Callable[..., str]
) -> None:
    flat = save_organism_model(seed=3, num_hidden_layers=1)
    said = examine("classify_latents.py", "--base", flat, "--distilled", flat, "--other-models", code=2)
    assert f"layer 1 is out of range: the crosscoder was trained at its input, and the models {flat}" in said
