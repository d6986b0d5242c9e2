import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.reports.page import write_report
from toolkit.reports.run_report import RunReport


@pytest.fixture
def page(report: RunReport, tmp_path: Path) -> Path:
    return write_report(tmp_path / "run", report)


def test_every_figure_is_a_png_and_stands_in_the_page(page: Path) -> None:
    figures = {path.stem: path for path in (page.parent / "figures").glob("*.png")}
    assert set(figures) == {"nrn_histogram", "cosine_against_nrn", "training_curves", "firing_histogram"}
    for path in figures.values():
        header = path.read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">I", header[16:20]) == (840,)
    assert page.read_text(encoding="utf-8").count("<figure><svg ") == 4


def test_all_that_the_report_says_can_be_read(page: Path, read: Callable) -> None:
    text = " ".join(read(page).words)
    for said in (
        "Crosscoder of <two> models", "base → distilled, input of layer 3", "corpus & more",
        "python recipes/train_crosscoder.py --seed 0", "FVE, base", "0.9731", "95 % CI 0.9718 to 0.9744",
        "n = 40,960 tokens", "1,024,000", "all that were <kept>", "self-<reflection>", "1032", "0.941",
        "0.920 to 0.960", "1,840", "Control: labels moved by half a document.",
        "75.0 %", "1:15", "position 0", "10.0 %", "reasoning, general", "2.13.0",
        'pair = ModelPair.from_pretrained("organism")',
        f'Crosscoder.from_pretrained("{page.parent.as_posix()}")',
    ):  # fmt: skip
        assert said in text, said


def test_text_of_the_report_is_never_markup(report: RunReport, tmp_path: Path, read: Callable) -> None:
    evil = '<script>alert("1")</script>'
    behaviours = replace(report.behaviours, title=evil, rows=[[evil, evil, 1.0, 1]], note=evil)
    report = replace(
        report, title=evil, pair=evil, data=evil, command=evil, load_pair=evil, versions={evil: evil},
        settings={evil: evil}, streams=(evil, evil), masks={evil: 1}, seconds={evil: 1.0},
        headline=[replace(report.headline[0], name=evil, unit=evil, note=evil)],
        behaviours=behaviours,
    )  # fmt: skip
    page = write_report(tmp_path, report)
    assert "<script" not in page.read_text(encoding="utf-8")
    assert " ".join(read(page).words).count(evil) == 22


def test_nothing_is_fetched(page: Path, read: Callable) -> None:
    fetching = {"src", "href", "xlink:href", "srcset", "data", "action"}
    targets = [value or "" for name, value in read(page).attributes if name in fetching]
    assert targets
    assert all(target.startswith(("#", "data:image/png")) for target in targets)
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"@import|url\((?!#)", text)


def test_a_run_on_one_model_has_no_figures_of_two(report: RunReport, tmp_path: Path) -> None:
    records = [record | {"fve": record["fve"][:1]} for record in report.records]
    one = replace(
        report, nrn=None, cosine=None, cosine_null=None, nrn_mean=None, behaviours=None, streams=("base",),
        records=records,
    )  # fmt: skip
    text = write_report(tmp_path, one).read_text(encoding="utf-8")
    assert sorted(path.stem for path in (tmp_path / "figures").iterdir()) == [
        "firing_histogram",
        "training_curves",
    ]
    assert "self-" not in text
