import importlib.util
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import tyro

from toolkit.findings.top_examples import TopExamplesConfig
from toolkit.runs.command_line import run_main

RECIPE = Path(__file__).parents[2] / "recipes" / "top_examples.py"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --virtual-time-budget=3000 --dump-dom"
).split()
Main = Callable[[list[str]], None]


@pytest.fixture(scope="module")
def main() -> Main:
    """The recipe in this process; a failure is a `SystemExit`."""
    spec = importlib.util.spec_from_file_location("top_examples", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    options = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    return lambda arguments: run_main(lambda: recipe.main(tyro.cli(TopExamplesConfig, args=arguments, config=options)))


@pytest.fixture
def arguments(train: Main, run_arguments: list[str], tmp_path: Path) -> list[str]:
    """Of a run on a freshly trained crosscoder of 64 latents."""
    train(run_arguments)
    return ["--run", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--tokens", "900", "--top", "3"]


def test_a_crosscoder_becomes_examples_to_look_through(
    main: Main, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments)
    said = capsys.readouterr().out
    assert "alive latents" in said
    assert all(len(line) <= 80 for line in said.splitlines() if str(tmp_path) not in line)
    out = tmp_path / "out"
    saved = json.loads((out / "top_examples.json").read_text())["results"]
    database = sqlite3.connect(out / "examples.sqlite")
    stored = database.execute("SELECT DISTINCT latent FROM examples ORDER BY latent").fetchall()
    assert [latent for (latent,) in stored] == [each["latent"] for each in saved["latents"]]
    first = database.execute("SELECT latent, max(score) FROM examples").fetchall()
    database.close()

    main([*arguments, "--tokens", "1500"])
    assert json.loads((out / "top_examples.json").read_text())["results"]["tokens"] >= 1500 > saved["tokens"]
    database = sqlite3.connect(out / "examples.sqlite")
    assert database.execute("SELECT latent, max(score) FROM examples").fetchall()[0][1] >= first[0][1]
    database.close()

    if CHROMIUM is None:
        pytest.skip("no chromium to open the page with")
    latent = saved["latents"][0]["latent"]
    page = f"{(out / 'latents.html').as_uri()}#latent={latent}"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert f"Latent {latent}, " in shown
    assert "Logit lens, distilled" in shown
    assert "lowest quarter" in shown


def test_mistakes_end_with_what_to_do(main: Main, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def error(*changes: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, *changes])
        assert stopped.value.code == 2
        return capsys.readouterr().err

    assert "there is no latent 64; this crosscoder has latents 0 to 63" in error("--latents", "3,64")
    assert "--before -1" in error("--before", "-1")
    main([*arguments, "--latents", "3,17"])
    assert "top: 3 then, 5 now" in error("--top", "5")
