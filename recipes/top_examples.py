"""What makes each latent fire, and which tokens does it promote?

    python recipes/top_examples.py
    python recipes/top_examples.py --latents 3,17 --tokens 65536
    python recipes/top_examples.py --run runs/qwen-1.5b --out runs/qwen-1.5b/top_examples --tokens 1000000

Without arguments: all latents of the shipped crosscoder on the embedded pair's held-out text, in about a minute on two
cores. Open latents.html: sort by NRN, frequency or a category's lift, search for a token, open a latent. Expect one
latent for each of "Wait", "But" and "However" whose examples show nothing else, and NRN above 0.5 for them.

The examples lie in examples.sqlite. A run that was stopped goes on where it was last saved, at most half a minute ago,
and one that is asked for more --tokens reads only those. Memory for one latent is about 6 kB: 30,000 take 180 MB.
Unlike the paper, which lists the strongest examples only, each latent also shows a random sample of all its firings.
"""

import tyro

from toolkit.findings.top_examples import (
    TopExamplesConfig,
    browser_facts,
    measure_top_examples,
    open_store,
    top_examples_findings,
)
from toolkit.reports.console import RunConsole
from toolkit.reports.latent_browser import write_browser
from toolkit.runs.command_line import run_main
from toolkit.runs.subject import Subject, publish


def main(config: TopExamplesConfig) -> None:
    """A crosscoder in; its latents' examples, to be looked through, out."""
    console = RunConsole()
    subject = Subject.open(config)
    with open_store(config, subject) as store, console.progress("reading", config.tokens) as progress:
        records = measure_top_examples(config, subject, store, progress)
    browser = write_browser(config.out, records.entries(), browser_facts(subject, records))
    publish(config, console, top_examples_findings(config, subject, records), subject.pair, subject.corpus.origin)
    console.note(f"latents to look through: {browser}")


if __name__ == "__main__":
    options = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    run_main(lambda: main(tyro.cli(TopExamplesConfig, config=options)))
