from pathlib import Path

import pytest

from toolkit.reports.findings import Headline, Table
from toolkit.reports.markup import code, columns, document, headline_list, html_table, pairs, paragraph, section, table


def test_a_document_is_whole_and_leaves_out_what_is_empty(tmp_path: Path, read) -> None:
    page = tmp_path / "page.html"
    page.write_text(document("a < b", "c & d", section("one", paragraph("two")), "", style="i { color: red }"))
    words = " ".join(" ".join(read(page).words).split())
    assert words.startswith("a < b")
    assert words.endswith("a < b c & d one two")
    assert "i { color: red }" in words
    assert "\n\n</main>" not in page.read_text()


@pytest.mark.parametrize(
    "piece",
    [
        lambda text: section(text),
        lambda text: paragraph(text),
        lambda text: headline_list([Headline(name=text, value=1)]),
        lambda text: headline_list([Headline(name="", value=1, n=3, unit=text)]),
        lambda text: headline_list([Headline(name="", value=1, note=text)]),
        lambda text: table(Table(title=text, columns=[], rows=[])),
        lambda text: table(Table(title="", columns=[text], rows=[])),
        lambda text: table(Table(title="", columns=["a"], rows=[[text]])),
        lambda text: table(Table(title="", columns=[], rows=[], note=text)),
        lambda text: html_table([text], [], ["name"]),
        lambda text: pairs({text: 1}),
        lambda text: pairs({"a": [text]}),
        lambda text: code(text),
    ],
)
def test_every_text_is_escaped_once(piece) -> None:
    html = piece("<i>&\"'")
    assert "&lt;i&gt;&amp;&quot;&#x27;" in html
    assert "<i>" not in html


def test_nothing_to_say_takes_no_room() -> None:
    assert paragraph("") == headline_list([]) == ""


def test_prose_and_html_stand_in_their_columns() -> None:
    html = html_table(["name", "value"], [["<b>x</b>", "1"]], ["prose", ""], "stacked")
    assert '<table class="stacked"><thead><tr><th class="prose">name</th><th>value</th>' in html
    assert '<td class="prose"><b>x</b></td><td>1</td>' in html


def test_sections_stand_beside_each_other() -> None:
    assert columns("<p>1</p>", "<p>2</p>") == '<div class="columns"><p>1</p><p>2</p></div>'
