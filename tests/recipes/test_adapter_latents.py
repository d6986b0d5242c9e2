"""adapter_latents.py as a user starts it: what it writes and says, and how it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., str]


@pytest.fixture
def examine(call: Call, adapter_folder: Path, text_file: Path, tmp_path: Path) -> Call:
    """Run the recipe on the tiny adapter, with little text."""
    given = ("--run", adapter_folder, "--data", text_file, "--out", tmp_path / "out", "--device-map", "cpu")
    small = ("--tokens", 500, "--top", 3, "--sampled", 4)
    return lambda *more, code=None: call("adapter_latents.py", *given, *small, *more, code=code)


@pytest.mark.slow
def test_it_writes_a_browser_and_every_number_and_goes_on_where_it_stopped(examine: Call, tmp_path: Path) -> None:
    said = examine("--latents", "0/3")
    assert "Latent 0/3: fires on" in said
    out = tmp_path / "out"
    first = json.loads((out / "adapter_latents.json").read_text())
    assert len(first["results"]["l0"]) == 3
    assert first["provenance"]["models"].keys() == {"base", "distilled"}
    assert (out / "latents.html").exists()
    assert (out / "examples_from_layer_0.sqlite").exists()
    examine()
    assert json.loads((out / "adapter_latents.json").read_text())["results"]["tokens"] == first["results"]["tokens"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--latents", "3/1"], ["latent 3/1 does not exist", "layers 0 to 2, each with latents 0 to 23"]),
        (["--latents", "0/24"], ["latent 0/24 does not exist"]),
        (["--latents", "17"], ["latent '17'", "give layer/index, such as 3/17"]),
        (["--layers-together", "0"], ["layers_together 0", "at least 1"]),
        (["--mode", "both"], ["both", "adapter", "hybrid", "distilled"]),
        (["--labels", "/no/such.jsonl"], ["/no/such.jsonl"]),
        (["--lexicon", "/no/such.json"], ["/no/such.json"]),
        (["--run", "/no/such/run"], ["/no/such/run"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_bad_input_is_one_line(examine: Call, arguments: list[str], parts: list[str]) -> None:
    said = examine(*arguments, code=2)
    assert [part for part in parts if part not in said] == []


def test_another_folder_is_asked_for_where_settings_differ(examine: Call) -> None:
    examine()
    assert "was started with other settings (top: 3 then, 2 now)" in examine("--top", "2", code=2)
