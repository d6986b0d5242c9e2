"""Turn records of reasoning data into the text that a crosscoder is trained on: how much is there, and how long is it?

    python recipes/prepare_data.py --data open-r1/OpenR1-Math-220k --pair qwen-1.5b --markers drop --out runs/openr1
    python recipes/train_crosscoder.py --pair qwen-1.5b --data runs/openr1/train.jsonl --out runs/qwen-1.5b

Replies stay verbatim, `<think>` and all, also where the model's own chat template would cut the reasoning out. Writes
train.jsonl, held_out.jsonl, and a page with how many tokens the texts have. A thousand records of a thousand tokens
take three seconds beyond the start, and 0.6 GB. Troitskii 2025 trains on answers alone: `--part answer --template
reply`. `--markers drop` is for pairs like Qwen's, whose base model has another token in the place of `<think>`.
"""

from pathlib import Path

from toolkit.artifacts import provenance, sha256
from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.prepared_data.measure import PrepareConfig, measure
from toolkit.experiments.prepared_data.page import page
from toolkit.harvest.local_files import local_files
from toolkit.reports.console import RunConsole
from toolkit.reports.files import publish
from toolkit.tracking import track


def main(config: PrepareConfig) -> None:
    """Records in; text and what is known of it out."""
    console = RunConsole()
    with console.stage("text"):
        findings = page(config, None, measure(config))
        files = track(local_files(config.data), "hashing", "files")
        inputs = {path: sha256(Path(path)) for path in files}
    origin = provenance(seed=config.seed, data={"source": config.data}, inputs=inputs)
    publish(config.out, console, findings, origin)


if __name__ == "__main__":
    run_recipe(main, PrepareConfig)
