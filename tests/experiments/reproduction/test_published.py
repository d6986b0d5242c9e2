import json
import os
from pathlib import Path

import pytest

from toolkit.experiments.reproduction.page import PUBLISHED, load_published
from toolkit.models.presets import PRESETS

DATA = os.environ.get("TOOLKIT_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="TOOLKIT_TEST_DATA names no folder with the published results")


def original(name: str) -> dict:
    return json.loads((Path(str(DATA)) / "published" / name).read_text())


@pytest.mark.parametrize("path", sorted(PUBLISHED.iterdir()), ids=lambda path: path.stem)
def test_every_figure_says_where_it_is_from(path: Path):
    content = json.loads(path.read_text(encoding="utf-8"))
    assert "20" in content["source"]
    assert content["measure"]


def test_the_pairs_are_presets():
    pairs = {*load_published("parallelogram")["pairs"], *load_published("crosscoder")["pairs"]}
    assert {*pairs, load_published("ablation")["pair"]} <= PRESETS.keys()


def test_the_paper_as_quoted():
    crosscoder = load_published("crosscoder")["pairs"]
    assert [crosscoder[f"qwen-{size}"]["l0"] for size in ("1.5b", "7b", "14b")] == [864, 877, 608]
    spanish = load_published("parallelogram")["pairs"]["qwen-1.5b"]["english-spanish"]
    assert spanish["n_quadruples"] == 179 * 178 / 2
    assert (round(spanish["base"]["20"], 3), round(spanish["distilled"]["20"], 3)) == (0.734, 0.880)


@needs_data
def test_parallelogram_means_are_the_authors():
    published = load_published("parallelogram")["pairs"]
    for pair, classes in original("parallelogram.json").items():
        for name, dims in classes.items():
            for dim, models in dims.items():
                for model, found in models.items():
                    assert published[pair][name][model][dim] == found["mean"]
                    assert published[pair][name]["n_quadruples"] == found["n"]


@needs_data
def test_ablation_means_are_the_authors():
    published = load_published("ablation")["categories"]
    for category, fractions in original("ablation_qwen-7b.json").items():
        for fraction, arms in fractions.items():
            row = published[category][f"{float(fraction):g} %"]
            assert row["latents"] == arms["selected"]["latents"]
            for arm in ("selected", "random"):
                for model in ("base", "distilled"):
                    values = arms[arm][model]
                    assert len(values) == published[category]["n"]
                    assert row[arm][model] == pytest.approx(sum(values) / len(values), abs=5e-4)
