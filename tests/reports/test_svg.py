import re
from xml.etree import ElementTree

from toolkit.reports.figures import nrn_histogram, training_curves
from toolkit.reports.run_report import RunReport
from toolkit.reports.svg import inline_svg
from toolkit.reports.theme import PALETTE


def test_text_stays_text_and_colours_follow_the_page(report: RunReport) -> None:
    svg = inline_svg(nrn_histogram(report.nrn[report.alive]), "nrn", "the caption")
    assert "distilled only</text>" in svg
    assert "var(--first)" in svg
    assert "var(--ink)" in svg
    assert not [light for light, _ in PALETTE.values() if light in svg]


def test_two_figures_share_no_id_and_every_reference_is_met(report: RunReport) -> None:
    first = inline_svg(nrn_histogram(report.nrn[report.alive]), "nrn", "the caption")
    second = inline_svg(training_curves(report.records), "curves", "the caption")
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert not ids[0] & ids[1]
    for own, svg in zip(ids, (first, second), strict=True):
        references = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
        assert references
        assert references <= own


def test_the_same_figure_gives_the_same_well_formed_bytes(report: RunReport) -> None:
    svg, again = (inline_svg(nrn_histogram(report.nrn[report.alive]), "nrn", "the caption") for _ in range(2))
    assert svg == again
    root = ElementTree.fromstring(svg.replace("xlink:", ""))
    assert root.attrib["viewBox"] == "0 0 302.4 187.2"
    assert root.attrib["aria-label"] == "the caption"
