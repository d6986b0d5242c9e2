"""Does every experiment of the paper come out on this pair?

    python recipes/reproduce_paper.py --out runs/reproduce_paper
    python recipes/reproduce_paper.py --run runs/qwen-7b --out runs/qwen-7b/paper

Reconstruction, latent classes, ablation (ours and the paper's protocol), steering, word-pair geometry and layer
divergence, each on a page of its own, and one page that sets the numbers beside the published ones or, for the embedded
pair, beside what was planted. `results.json` holds every number. `--lexicon`, `--words` and `--questions` take your
own. The embedded pair takes about seven minutes on two cores and 2 GB. A real pair needs a crosscoder first: `python
recipes/train_crosscoder.py --pair qwen-7b --out …`.
"""

import sys

from toolkit.runs.remote_start import check_remote

if __name__ == "__main__":
    check_remote(sys.argv)  # what is imported next takes seconds

from toolkit.findings.comparison import comparison_findings
from toolkit.findings.reproduction import COMPARISON, ReproductionConfig, experiments, reproduction_results
from toolkit.outputs import OutputFolder
from toolkit.reports.console import RunConsole
from toolkit.reports.findings_page import render_findings, write_findings, write_results
from toolkit.runs.command_line import run_recipe
from toolkit.runs.control import controlled_origin
from toolkit.runs.subject import Subject


def main(config: ReproductionConfig) -> None:
    """A crosscoder in; every experiment, and how it compares, out."""
    console = RunConsole()
    asked = experiments(config)
    with console.stage("loading"):
        subject = Subject.open(config)
    origin = controlled_origin(config, subject.pair, subject.corpus.origin)
    parts = {}
    for number, (name, find) in enumerate(asked.items(), start=1):
        with console.stage(f"{number} of {len(asked)}: {name}"):
            parts[name] = find(subject)
        write_findings(config.out, parts[name], origin)
    results = reproduction_results(parts)
    findings = comparison_findings(subject.config.pair, subject, parts, results)
    page = config.out / "comparison.html"
    with OutputFolder(config.out, (COMPARISON,)).writing("results.json", page.name):
        write_results(config.out / "results.json", results | {"provenance": origin})
        page.write_text(render_findings(findings, origin), encoding="utf-8")  # figures and numbers are written already
    console.findings(findings)
    console.note(f"page: {page}")
    console.times(console.seconds)


if __name__ == "__main__":
    run_recipe(main, ReproductionConfig)
