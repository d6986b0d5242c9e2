"""Every recipe says what --remote lacks, before it loads anything."""

from pathlib import Path

import pytest
from ndif_server import NdifServer

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.py"))
WITHOUT_MODELS = ("estimate_costs.py", "geneft.py", "make_organism.py", "prepare_data.py")
HERE_ALONE = (
    "adapter_latents.py", "attribute.py", "attribute_crosscoder.py", "evaluate_adapter.py", "hesitation.py",
    "train_adapter.py",
)  # fmt: skip
"""Recipes whose models run on this machine alone: they refuse --remote, for which see `test_adapter_bad_input.py`."""
READING = [path for path in RECIPES if path.name not in (*WITHOUT_MODELS, *HERE_ALONE)]


@pytest.mark.parametrize("recipe", READING, ids=lambda path: path.name)
def test_every_recipe_says_at_once_that_the_key_is_missing(
    call, recipe: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NDIF_API_KEY", raising=False)
    monkeypatch.setenv("NNSIGHT_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.setattr("nnsight.schema.config.CONFIG.API.APIKEY", None)
    said = call(recipe.name, "--remote", code=2)
    assert said.startswith("error: NDIF needs a key: get one at https://login.ndif.us, then")


@pytest.mark.parametrize("recipe", HERE_ALONE)
def test_recipes_of_models_on_this_machine_refuse_remote_before_they_ask_for_a_key(
    call, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NDIF_API_KEY", raising=False)
    said = call(recipe, "--remote", code=2)
    assert said.startswith("error: remote: ")
    assert "leave out" in said


def test_the_shipped_crosscoders_pair_is_said_to_be_elsewhere(call, ndif: NdifServer) -> None:
    said = call("steer.py", "--remote", code=2)
    assert "127.0.0.1 does not host" in said
    assert "artifacts/organism/base" in said
    assert "python recipes/train_crosscoder.py --remote --out runs/remote" in said
