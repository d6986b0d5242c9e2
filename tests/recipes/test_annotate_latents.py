"""Annotation as a user starts it: by rules and by a server, again, and how it refuses."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chat_loopback import MODEL, ChatLoopback
from headless_chromium import CHROMIUM, opened

from toolkit.dictionaries.crosscoder import Crosscoder

Call = Callable[..., str]


@pytest.fixture
def seldom(trained: Path, tmp_path: Path) -> Path:
    """The tiny run's crosscoder, whose latents fire so seldom that they are silent in some passages."""
    folder = shutil.copytree(trained, tmp_path / "seldom")
    crosscoder = Crosscoder.from_pretrained(trained)
    crosscoder.threshold.mul_(3)
    crosscoder.b_enc[5] = -1e6
    crosscoder.save_pretrained(folder)
    return folder


@pytest.fixture
def annotate(call: Call, seldom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run the recipe on that crosscoder and little text, perhaps to an error."""
    monkeypatch.setattr("toolkit.reports.console.SOON", 0.0)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    given = (
        "--run",
        seldom,
        "--other-models",
        "--data",
        "organism",
        "--tokens",
        5000,
        "--n",
        4,
        "--out",
        tmp_path / "out",
    )
    return lambda *changes, code=None: call("annotate_latents.py", *given, *changes, code=code)


@pytest.fixture
def server() -> Iterator[ChatLoopback]:
    with ChatLoopback().serving() as loopback:
        yield loopback


def results(folder: Path) -> dict:
    return json.loads((folder / "latent_annotation.json").read_text())["results"]


@pytest.mark.slow
def test_rules_label_latents_and_leave_files(annotate: Call, tmp_path: Path) -> None:
    said = annotate()
    assert "latent annotation: labelling 100%" in said
    found = results(tmp_path / "out")
    assert found["annotator"] == "rules"
    assert len(found["labels"]) >= 6
    assert found["controls"]["shuffled"]["detection"]["value"] == pytest.approx(0.5, abs=0.1)
    for name in ("latent_annotation.html", "labels.json", "neuronpedia.jsonl", "latents.html"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    again = annotate("--compare", tmp_path / "out" / "labels.json")
    assert results(tmp_path / "out")["labels"] == found["labels"]
    assert results(tmp_path / "out")["agreement"]["rules"]["same"]["value"] == 1
    assert "Agreement with rules" in again

    if CHROMIUM is None:
        pytest.skip("no chromium to open the page with")
    latent = next(iter(found["labels"]))
    shown = opened(f"{(tmp_path / 'out' / 'latents.html').as_uri()}#latent={latent}", tmp_path / "profile")
    assert f"Latent {latent}, {found['labels'][latent]['category']}" in shown


@pytest.mark.slow
def test_a_server_is_told_of_before_and_asked_nothing_twice(
    annotate: Call, server: ChatLoopback, tmp_path: Path
) -> None:
    asked = ("--base-url", server.url, "--model", MODEL, "--price-in", "1", "--price-out", "2")
    said = annotate(*asked)
    assert said.index(f"{MODEL} will be asked about ") < said.index("What latents mean, by the-model")
    assert "at these prices" in said
    found = results(tmp_path / "out")
    assert {each["category"] for each in found["labels"].values()} == {"self-reflection"}
    assert len(set(server.prompts)) > 10
    server.bodies.clear()
    annotate(*asked)
    assert len(server.prompts) == 1, "only whether it is there"
    assert results(tmp_path / "out")["labels"] == found["labels"]


def test_a_model_that_labels_nothing_is_refused(annotate: Call, server: ChatLoopback, tmp_path: Path) -> None:
    server.answer = lambda prompt: "I cannot tell."
    said = annotate("--base-url", server.url, "--model", MODEL, code=2)
    assert f"{MODEL} gave no label that can be used" in said
    assert "the reply holds no JSON object" in said
    assert "give another --model" in said
    assert not (tmp_path / "out" / "labels.json").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--latents", "64"], ["latent 64 does not exist", "latents 0 to 63"]),
        (["--latents", "three"], ["latent 'three'", "give an index"]),
        (["--latents", "5"], ["latent 5 fires in 0 passages", "read more text"]),
        (["--category", "joy"], ["no category is called 'joy'", "self-reflection"]),
        (["--category", "deductive", "--latents", "3"], ["give one of the two"]),
        (["--compare", "/no/such.json"], ["/no/such.json", "labels.json of annotate_latents.py"]),
        (["--spans", "/no/such.jsonl"], ["/no/such.jsonl"]),
        (["--base-url", "http://127.0.0.1:9/v1"], ["base_url", "needs model too"]),
        (["--base-url", "http://127.0.0.1:9/v1", "--model", "m", "--tries", "1"], ["http://127.0.0.1:9/v1"]),
        (["--adapter", "/no/such"], ["/no/such"]),
        (["--n", "0"], ["n 0", "at least 1"]),
    ],
    ids=lambda value: " ".join(value[:2]) if value[0].startswith("--") else "",
)
def test_bad_input_is_refused(annotate: Call, tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    said = annotate(*arguments, code=2)
    assert [part for part in parts if part not in said] == []
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "latent_annotation.html").exists()


def test_another_model_name_and_a_missing_key_are_refused(annotate: Call, server: ChatLoopback) -> None:
    said = annotate("--base-url", server.url, "--model", "another", code=2)
    assert "another" in said
    assert MODEL in said
    server.key = "secret"
    said = annotate("--base-url", server.url, "--model", MODEL, code=2)
    assert "OPENAI_API_KEY" in said


def test_labels_of_another_crosscoder_are_refused(annotate: Call, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"dictionary": "0" * 64, "annotator": "someone", "labels": {}}))
    said = annotate("--compare", path, code=2)
    assert "labels of latents of another dictionary" in said
