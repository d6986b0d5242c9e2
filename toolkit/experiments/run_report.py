"""Writes the report of a training run into the run's folder."""

from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from toolkit.reports.drawing import save_pngs
from toolkit.reports.files import write_page
from toolkit.reports.findings import Findings
from toolkit.training.training_folder import TrainingFolder


def write_report(folder: TrainingFolder, report: Findings) -> Path:
    """Write `report.html` and its figures into the run's folder, whose `metrics.json` holds every number."""
    report = replace(report, provenance={**folder.read_json("provenance.json"), **report.provenance})
    figures = {chart.slug: chart.figure for chart in report.charts if isinstance(chart.figure, Figure)}
    with folder.outputs.writing(*folder.REPORT):
        save_pngs(folder.path / "figures", figures)
        return write_page(folder.path / "report.html", report, "metrics.json")
