import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from headless_chromium import CHROMIUM, opened

Call = Callable[..., str]


@pytest.fixture
def examine(call: Call, trained: Path, tmp_path: Path) -> Call:
    """Run the recipe on the tiny run, perhaps to an error."""
    given = ("--run", trained, "--out", tmp_path / "out", "--tokens", "900", "--top", "3")
    return lambda *changes, code=None: call("top_examples.py", *given, *changes, code=code)


def test_a_crosscoder_becomes_examples_to_look_through(examine: Call, tmp_path: Path) -> None:
    assert "alive latents" in examine()
    out = tmp_path / "out"
    saved = json.loads((out / "top_examples.json").read_text())["results"]
    database = sqlite3.connect(out / "examples.sqlite")
    stored = database.execute("SELECT DISTINCT latent FROM examples ORDER BY latent").fetchall()
    assert [latent for (latent,) in stored] == [each["latent"] for each in saved["latents"]]
    first = database.execute("SELECT latent, max(score) FROM examples").fetchall()
    database.close()

    examine("--tokens", "1500")
    assert json.loads((out / "top_examples.json").read_text())["results"]["tokens"] >= 1500 > saved["tokens"]
    database = sqlite3.connect(out / "examples.sqlite")
    assert database.execute("SELECT latent, max(score) FROM examples").fetchall()[0][1] >= first[0][1]
    database.close()

    if CHROMIUM is None:
        pytest.skip("no chromium to open the page with")
    latent = saved["latents"][0]["latent"]
    shown = opened(f"{(out / 'latents.html').as_uri()}#latent={latent}", tmp_path / "profile")
    assert f"Latent {latent}, " in shown
    assert "Logit lens, distilled" in shown
    assert "lowest quarter" in shown


def test_mistakes_end_with_what_to_do(examine: Call) -> None:
    assert "latent 64 does not exist: the crosscoder has latents 0 to 63" in examine("--latents", "3", "64", code=2)
    assert "before -1" in examine("--before", "-1", code=2)
    examine("--latents", "3", "17")
    assert "top: 3 then, 5 now" in examine("--top", "5", code=2)
