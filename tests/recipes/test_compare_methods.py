"""The recipe as a user starts it, on tiny models with little of everything."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from labelled_files import write_answers

LITTLE = (
    "--tokens 1024 --documents 16 --n-latents 8 --k 2 --l1-coefficient .3 --jumprelu-threshold .1 --seeds 1 --draws 2"
    " --targets 2 --prompts 1 --new-tokens 4"
)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_answers(tmp_path / "labels.jsonl", 16)


@pytest.fixture
def compare(
    call: Callable[..., str], organism_folders: tuple[str, str], text_file: Path, tmp_path: Path
) -> Callable[..., str]:
    base, distilled = organism_folders
    given = ("--base", base, "--distilled", distilled, "--data", text_file, "--out", tmp_path / "out")
    return lambda *more, **how: call("compare_methods.py", *given, *LITTLE.split(), *more, **how)


@pytest.mark.slow
def test_one_file_holds_every_number(compare: Callable[..., str], labels: Path, tmp_path: Path) -> None:
    said = compare("--labels", labels)
    assert "What to use for which question" in said
    assert "compare methods: methods 100% 12 of 12 methods" in said or "compare methods" in said
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {"methods", "floor", "ceiling", "null", "adjusted", "provenance"} <= content.keys()
    assert len(content["methods"]) == 12
    assert content["null"] == {}, "no control was named"
    assert content["methods"]["crosscoder, batchtopk"]["deduction"]["note"]
    assert (tmp_path / "out" / "compare_methods.html").read_text().startswith("<!doctype html>")
    assert str(labels) in content["provenance"]["sha256"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["nothing is known to be planted in these models", "--labels"]),
        (["--labels", "/no/such.jsonl"], ["/no/such.jsonl"]),
        (["--k", "9"], ["k 9 is more than n_latents 8", "lower k or raise n_latents"]),
        (["--labels", "{labels}", "--documents", "15"], ["15 labelled documents", "give 16 or more"]),
        (["--labels", "{labels}", "--tokens", "100000000"], ["holds", "lower --tokens"]),
    ],
)
def test_bad_input_is_refused_in_one_line(
    compare: Callable[..., str], labels: Path, arguments: list[str], parts: list[str]
) -> None:
    said = compare(*(each.format(labels=labels) for each in arguments), code=2)
    assert [part for part in parts if part not in said] == []
