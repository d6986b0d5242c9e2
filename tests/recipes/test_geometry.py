"""The recipe on word geometry, as a user starts it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., str]


def test_in_the_embedded_pair_every_class_shares_a_step(call: Call, tmp_path: Path):
    said = call("geometry.py", "--out", tmp_path)
    content = json.loads((tmp_path / "word_geometry.json").read_text())
    classes = content["results"]["classes"]
    assert len(classes) == 7
    for of_class in classes.values():
        assert of_class["models"].keys() == {"base", "distilled", "control"}
        for model in of_class["models"].values():
            assert model["dims"]["20"]["gap"]["low"] > 0.2
            assert model["dims"]["20"]["n_quadruples"] == 24 * 23 / 2
    assert "toolkit/data/word_pairs/embedded/antonym.json" in content["provenance"]["data"]["words"]
    assert sorted(Path(path).parent.name for path in content["provenance"]["sha256"]) == [
        "base",
        "control",
        "distilled",
    ]
    assert (tmp_path / "figures" / "word_geometry_cdf.png").stat().st_size > 10_000
    assert (tmp_path / "word_geometry.html").read_text().startswith("<!doctype html>")
    assert "share a step, distilled" in said
    assert "Where the time went" in said
    assert f"page:{tmp_path}/word_geometry.html" in said.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog,dogs\ncat\n", "line 2: ('cat',): each row needs two words"),
        ("dog,dogs\ncat,unheard-of\n", "of 1 of 2 pairs both words are one token of this tokenizer, and 8 are needed"),
    ],
)
def test_bad_words_end_the_recipe_with_one_message(call: Call, tmp_path: Path, text: str, message: str):
    words = tmp_path / "words.csv"
    words.write_text(text)
    said = call("geometry.py", "--words", words, "--out", tmp_path / "out", code=2)
    assert message in said
    assert str(words) in said or "words: of 1 of 2" in said
    assert not [*(tmp_path / "out").iterdir()]
