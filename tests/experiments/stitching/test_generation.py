"""What stitched models write: the receiver before its own rest writes what it writes, and arms are asked alike."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.experiments.stitching import StitchingConfig
from toolkit.experiments.stitching.generation import ask, stitched_answers
from toolkit.experiments.stitching.measure import measure
from toolkit.library_warnings import ToolkitWarning
from toolkit.models.pair import ModelPair
from toolkit.models.sources import find_sources
from toolkit.settings.findings import TextChoice
from toolkit.stitching.maps import identity_map
from toolkit.stitching.opening import StitchableModels
from toolkit.stitching.stitch import Stitch

LAYER, WIDTH = 2, 16


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> StitchingConfig:
    """Three of four problems, of which greedy answers of 12 tokens are asked for."""
    file = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    lines = [json.dumps({"question": f"What is {first}+7?", "answer": str(first + 7)}) for first in (20, 31, 45, 62)]
    file.write_text("\n".join(lines) + "\n")
    return StitchingConfig(problems=str(file), n_problems=3, new_tokens=12)


@pytest.fixture(scope="module")
def models(pair: ModelPair) -> StitchableModels:
    """The tiny pair, as stitching opens it."""
    return StitchableModels.of(pair)


def test_a_receiver_before_its_own_rest_writes_what_it_writes_and_another_front_changes_that(
    settings: StitchingConfig, models: StitchableModels
) -> None:
    stitches = {"identity": Stitch(models.models["base"], identity_map(WIDTH), LAYER)}
    found = stitched_answers(ask(settings, models, "distilled"), models, "base", "distilled", stitches)
    arms = found.measured.arms
    assert list(arms) == ["distilled", "base", "self", "identity"]
    texts = {name: [each.text for each in arm.records] for name, arm in arms.items()}
    assert len(texts["self"]) == 3
    assert texts["self"] == texts["distilled"]
    assert texts["identity"] != texts["distilled"] != texts["base"]
    assert set(found.measured.paired) == {"base", "self", "identity"}
    assert found.measured.paired["self"].estimates["length"].value == 0
    assert (found.front, found.rest, found.cut, found.plainly) == ("base", "distilled", LAYER, False)


def test_base_as_the_receiver_is_asked_plainly_and_so_is_its_front(
    settings: StitchingConfig, models: StitchableModels
) -> None:
    stitches = {"identity": Stitch(models.models["distilled"], identity_map(WIDTH), LAYER)}
    found = stitched_answers(ask(settings, models, "base"), models, "distilled", "base", stitches)
    assert found.plainly
    assert list(found.measured.arms) == ["base", "distilled", "self", "identity"]


def test_what_cannot_be_asked_is_refused_before_anything_is_written(
    settings: StitchingConfig, models: StitchableModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"distilled: 1 problem: give at least 2, .* with --n-problems 0"):
        ask(StitchingConfig(problems=settings.problems, n_problems=1, new_tokens=12), models, "distilled")
    shifted = copy.deepcopy(models.tokenizer)
    shifted.add_tokens(["only here"])
    unlike = replace(models, tokenizers={"base": models.tokenizer, "distilled": shifted})
    with pytest.raises(ValueError, match=r"tokens that only distilled has, .* one vocabulary, or .* --n-problems 0"):
        ask(settings, unlike, "distilled")
    monkeypatch.setattr(models.models["base"].place, "keeps_caches", False)
    with pytest.raises(ValueError, match="base keeps no cache between two calls"):
        ask(settings, models, "distilled")


def test_prompts_that_the_front_reads_as_other_ids_are_refused_before_any_text_is_read(
    settings: StitchingConfig, organism_folders: tuple[str, str], tmp_path: Path
) -> None:
    base = Path(shutil.copytree(organism_folders[0], tmp_path / "base"))
    for file in base.glob("tokenizer*.json"):
        file.write_text(file.read_text().replace("<think>", "<box>"))
    with pytest.warns(ToolkitWarning, match="1 ids mean different things"):
        models = StitchableModels.open(find_sources({"base": str(base), "distilled": organism_folders[1]}), where="cpu")
    unread = replace(settings, text=TextChoice(data=str(tmp_path / "nothing.jsonl")))
    said = r"distilled: .* different things .*\(base '<box>', distilled '<think>'\).* way; or leave .* --n-problems 0"
    with pytest.raises(ValueError, match=said):
        measure(unread, models)
    with pytest.raises(ValueError, match=r"nothing\.jsonl"):
        measure(replace(unread, n_problems=0), models)
