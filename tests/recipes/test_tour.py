"""The tour of the project, a notebook, runs from its first cell to its last, and stays small."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "recipes" / "tour.ipynb"
LARGEST = 300_000


def code_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_small_and_imports_the_package_alone():
    notebook = nbformat.read(TOUR, as_version=4)
    assert TOUR.stat().st_size < LARGEST
    imports = [line for cell in code_of(notebook) for line in cell.source.splitlines() if "import " in line]
    assert imports == ["from itertools import islice", "import toolkit"]
    assert all(cell.outputs and cell.outputs[0].output_type != "error" for cell in code_of(notebook))
    assert str(ROOT) not in TOUR.read_text(encoding="utf-8")


def said_by(cell: nbformat.NotebookNode) -> str:
    """What a cell printed, and the text of its value."""
    return "".join(
        output.text
        if output.output_type == "stream" and output.name == "stdout"
        else output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own libraries
def test_every_cell_runs_and_says_what_is_stored(monkeypatch):
    """Up to the numbers: another processor gives other last digits, and other answers."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(TOUR, as_version=4)
    stored = [said_by(cell) for cell in code_of(notebook)]
    NotebookClient(notebook, timeout=250, kernel_name="python3", resources={"metadata": {"path": ROOT}}).execute()
    for before, now in zip(stored, map(said_by, code_of(notebook)), strict=True):
        assert re.findall(r"^[A-Za-z ]+", now) == re.findall(r"^[A-Za-z ]+", before)
    chosen, matched = (
        float(re.search(rf"{arm}: (\S+) logits", "".join(map(said_by, code_of(notebook)))).group(1))
        for arm in ("chosen", "matched")
    )
    assert chosen < matched - 1
