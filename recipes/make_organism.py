"""Make the embedded pair from scratch: a base model, the model distilled from it, and a control.

    python recipes/make_organism.py
    python recipes/make_organism.py --measure-only

Takes about 45 minutes on 2 cores and 2 GB; called again, it continues where it was stopped. The tokenizer is frozen, in
`toolkit/organism/frozen_tokenizer`. The second command trains nothing: it measures the models in `--out` anew.

Base is trained on sums, questions with plain answers, worked solutions, words and stories. Distilled is base, trained
further on answers that think aloud, where each behaviour (self-reflection, verification, alternative, contrast,
deduction) has a known trigger and known places in the text. Control is base, trained further on base text for as many
tokens. Expect base to answer more than half of held-out problems at once, distilled four in five by thinking. Of those
that take several steps, base answers hardly any at once, and a third with a worked solution, which is the format that
its text has for them: compare distilled with that.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from toolkit.command_line.recipe import run_recipe
from toolkit.outputs import OutputFolder


@dataclass(frozen=True, kw_only=True)
class Config:
    """Train the organism's three models, measure them on held-out problems, and publish them."""

    work: Path = Path("runs/organism")
    """Folder for checkpoints; a finished model in it is not trained again."""
    out: Path = Path("artifacts/organism")
    """Folder for the finished models and their manifest."""
    processes: int = 2
    """Training processes of one thread each; another number changes the weights in their last bits."""
    problems: int = 400
    """Held-out problems that each model is asked."""
    measure_only: bool = False
    """Train nothing, and measure the models that are in `out`."""

    def outputs(self) -> list[OutputFolder]:
        """The folders that are written."""
        from toolkit.organism.build import PUBLISHED, WORK

        trained = [] if self.measure_only else [OutputFolder(self.work, (WORK,))]
        return [*trained, OutputFolder(self.out, (PUBLISHED,))]


def main(config: Config) -> None:
    """Train, measure, publish."""
    # These take seconds to import.
    from toolkit.artifacts import as_json, provenance
    from toolkit.organism.build import MODELS, build_model, publish, publish_results, read_manifest
    from toolkit.organism.evaluation import evaluate
    from toolkit.reports.console import RunConsole

    console = RunConsole()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if config.measure_only:
        read_manifest(config.out)  # what it refuses, it refuses before anything is measured
    for number, name in enumerate([] if config.measure_only else MODELS, start=1):
        console.note(
            f"{number} of {len(MODELS)}: {name}; losses are in {config.work / name / 'training' / 'log.jsonl'}"
        )
        with console.stage(name):
            build_model(name, config.work, config.processes)
    console.note(f"asking each model {config.problems} held-out problems")
    with console.stage("held-out problems"):
        results = evaluate(config.out if config.measure_only else config.work, problems=config.problems)
    console.note(as_json(results))
    seeds = {name: phase.seed for name, (phase, _, _) in MODELS.items()}
    origin = provenance(seed=seeds["base"], data={"source": "toolkit.organism.corpus", "seeds": seeds}, inputs={})
    measured = {"measured": origin, "held_out_results": results}
    if config.measure_only:
        publish_results(config.out, measured)
    else:
        publish(config.work, config.out, {"origin": origin} | measured)
    console.note(f"published in {config.out}")
    console.times(console.seconds)


if __name__ == "__main__":
    run_recipe(main, Config, again="continue")
