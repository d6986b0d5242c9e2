import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from toolkit.reports.drawing import PALETTE
from toolkit.reports.findings import Findings, Headline, SideBySide, Table
from toolkit.reports.page import NOTEBOOK_CHARACTERS, render_notebook, render_page
from toolkit.statistics.estimates import Estimate


def test_the_page_says_everything(findings: Findings, tmp_path: Path, read: Callable) -> None:
    text = " ".join(read(findings.save(tmp_path)).words)
    for said in (
        "Ablation", "What falls when latents go?", "base → distilled", "-3.20", "95 % CI -3.60 to -2.90",
        "n = 100 positions", "control -0.1", "Effects", "deductive", "-2.00", "-2.50 to -1.50", "1,100",
        "Every step", "a long list",
        "95 % intervals", "the cap", "before", "Wait, no", "after", "So it is", "python recipes/ablate.py",
        "2.13.0", "ablation.json", "position 0", "10.0 %", 'run = Run.open("runs/x")',
    ):  # fmt: skip
        assert said in text, said


def test_text_of_findings_is_never_markup(findings: Findings, tmp_path: Path, read: Callable) -> None:
    evil = '<script>alert("1")</script>'
    findings = replace(
        findings, title=evil, question=evil, facts={evil: evil},
        tables=[Table(title=evil, columns=[evil, "b"], rows=[[evil, 1]], note=evil)],
        charts=[replace(findings.charts[0], caption=evil)],
        texts=[SideBySide(title=evil, labels=(evil, evil), texts=(evil, evil))], code=evil,
        provenance={"command": evil, evil: evil, "versions": {evil: [evil, 1]}},
        headline=[Headline(name=evil, value=1, n=3, unit=evil, note=evil), Headline(name=evil, value=1, unit=evil)],
    )  # fmt: skip
    page = findings.save(tmp_path)
    assert "<script" not in findings._repr_html_()
    assert "<script" not in page.read_text(encoding="utf-8")
    assert " ".join(read(page).words).count(evil) == 26


def test_a_chart_of_any_name_is_saved_and_stays_within_its_ids(
    findings: Findings, tmp_path: Path, read: Callable
) -> None:
    evil = '../a/b "x" (y) #z & <script>'
    page = replace(findings, charts=[replace(findings.charts[0], name=evil)]).save(tmp_path)
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["ablation_-a-b-x-y-z-script-.png"]
    ids = {value for key, value in read(page).attributes if key == "id"}
    text = page.read_text(encoding="utf-8")
    references = set(re.findall(r'(?:url\(|href=")#([^)"]*)[)"]', text))
    assert references
    assert references <= ids
    assert "<script" not in text


def test_a_table_too_wide_has_its_intervals_under_the_values(findings: Findings) -> None:
    for n_columns, stacked in ((5, False), (6, True)):
        columns = ["category", *(f"arm {number}" for number in range(n_columns))]
        rows = [["deductive", *[Estimate(-2.0, -2.5, -1.5)] * n_columns]]
        wide = replace(findings, tables=[Table(title="wide", columns=columns, rows=rows)])
        text = render_page(wide, "x.json")
        assert ('<table class="stacked">' in text) is stacked


def test_names_stay_on_a_line_and_prose_is_folded(findings: Findings) -> None:
    table = Table(title="t", columns=["category", "n", "example"], rows=[["deductive", 3, "so it is. " * 9]])
    text = render_page(replace(findings, tables=[table]), "x.json")
    assert '<th class="name">category</th><th>n</th><th class="prose">example</th>' in text


def test_a_page_of_the_question_alone_has_no_empty_parts(findings: Findings) -> None:
    bare = replace(findings, headline=[], tables=[], charts=[], texts=[], code="", provenance={})
    text = render_page(bare, "x.json")
    assert "What falls" in text
    assert "Figures" not in text
    assert "<table" not in text
    assert '<dl class="headline">' not in text
    assert '<div class="columns">' not in text
    assert "<pre>" not in text


def test_nothing_is_fetched(findings: Findings, tmp_path: Path, read: Callable) -> None:
    page = findings.save(tmp_path)
    fetching = {"src", "href", "xlink:href", "srcset", "data", "action"}
    targets = [value or "" for name, value in read(page).attributes if name in fetching]
    assert targets
    assert all(target.startswith(("#", "data:image/png")) for target in targets)
    assert not re.findall(r"@import|url\((?!#)", page.read_text(encoding="utf-8"))


def test_colours_have_their_variable_in_both_themes(findings: Findings) -> None:
    light, dark = render_page(findings, "x.json").split("@media (prefers-color-scheme: dark)")
    for role, (on_white, on_black) in PALETTE.items():
        assert f"--{role}: {on_white};" in light
        assert f"--{role}: {on_black};" in dark


def test_tables_of_detail_stand_below_the_figures(findings: Findings) -> None:
    text = render_page(findings, "x.json")
    places = [text.index(f"<h2>{title}</h2>") for title in ("Effects", "Figures", "Every step", "Tokens")]
    assert places == sorted(places)


def test_a_part_of_a_whole_has_a_bar_and_the_whole_has_none(findings: Findings) -> None:
    text = render_page(findings, "x.json")
    assert '<td class="share">1,000</td>' in text
    assert '<td class="share" style="--share: 10.00%">100 <small>10.0 %</small></td>' in text


def test_a_notebook_shows_the_findings_and_keeps_its_own_look(
    findings: Findings, tmp_path: Path, read: Callable
) -> None:
    (tmp_path / "cell.html").write_text(findings._repr_html_(), encoding="utf-8")
    shown = read(tmp_path / "cell.html")
    text = " ".join(shown.words)
    for said in ("Ablation", "What falls when latents go?", "-3.20", "Effects", "deductive", "the cap"):
        assert said in text
    assert "Every step" not in text
    assert "The page that save(folder) writes has 2 tables more." in text
    style = text[: text.index("What falls")]
    rules = re.findall(r"^([^\s}][^{]*) \{", style, flags=re.M)
    assert len(rules) == 4
    assert all(each.split()[-1] == ".findings" for rule in rules for each in rule.split(","))


def test_a_notebook_stays_small(findings: Findings) -> None:
    (chart,) = findings.charts
    many = replace(findings, charts=[replace(chart, name=f"matrix {number}") for number in range(40)])
    shown = render_notebook(many)
    n_shown = shown.count("<figure>")
    assert 0 < n_shown < 40
    assert f"2 tables and {40 - n_shown} figures more." in shown
    assert NOTEBOOK_CHARACTERS * 0.9 < len(shown) < 150_000
