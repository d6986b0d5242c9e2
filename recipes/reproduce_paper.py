"""Do the paper's experiments give the same results on this pair?

    python recipes/reproduce_paper.py --out runs/reproduce_paper
    python recipes/reproduce_paper.py --run runs/qwen-7b --out runs/qwen-7b/paper

Reconstruction, latent classes, ablation (ours and the paper's protocol), steering, word-pair geometry and layer
divergence, each on a page of its own, and one page that sets the numbers beside the published ones or, for the embedded
pair, beside what was planted. `results.json` holds every number, those of each crosscoder under `seeds`. All claims are
adjusted together, so fewer show than on each page alone. `--lexicon`, `--words` and `--questions` take your own. The
embedded pair takes about eight minutes on two cores and 2 GB. A real pair needs a crosscoder first: `python
recipes/train_crosscoder.py --pair qwen-7b --out …`. Fewer candidates, strengths and shares are measured than
`steer.py` and `ablate.py` measure by default, and half as many words by the paper's protocol.

Stopped at any moment, it goes on when it is called again: finished parts of the same settings, crosscoder, models, text
and code are reused. An experiment that the text or the pair does not allow is left out, and the page says why.
"""

from dataclasses import replace

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.reproduction import COMPARISON, ReproductionConfig
from toolkit.outputs import OutputFolder


def main(settings: ReproductionConfig) -> None:
    """A crosscoder in; every experiment, and how it compares, out."""
    # These take seconds to import.
    from toolkit.experiments.control import control_files
    from toolkit.experiments.opening import open_named
    from toolkit.experiments.origin import origin_of
    from toolkit.experiments.reproduction.measure import experiments, find_parts, reproduction_results
    from toolkit.experiments.reproduction.page import comparison_findings
    from toolkit.reports.console import RunConsole
    from toolkit.reports.files import write_page, write_results

    console, out = RunConsole(), settings.output.out
    experiments(settings)  # what they refuse, they refuse before anything is loaded
    with console.stage("loading"):
        run = open_named(settings)
        origin = origin_of(settings, run)
        origin["sha256"] |= control_files(settings.models, settings.where, run.models)
    parts, left_out = find_parts(settings, run, origin, console)
    results = reproduction_results(parts)
    findings = replace(comparison_findings(run, parts, left_out, results), provenance=origin)
    page = out / "comparison.html"
    with OutputFolder(out, (COMPARISON,)).writing("results.json", page.name):
        write_results(out / "results.json", results | {"left_out": left_out, "provenance": origin})
        write_page(page, findings, "results.json")  # the parts' figures and numbers are written already
    console.findings(findings)
    console.note(f"page: {page}")
    console.times(console.seconds)


if __name__ == "__main__":
    run_recipe(main, ReproductionConfig, again="continue")
