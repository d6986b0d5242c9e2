"""What would a training run cost, and how does each way of running it change that?

    python recipes/estimate_costs.py --pair qwen-7b
    python recipes/estimate_costs.py --pair qwen-14b --tokens 400000000 --tflops 400
    python recipes/estimate_costs.py --base ./my-base --distilled ./my-distilled --n-latents 65536 --sparsity l1

Operations and bytes are computed from the models' configs; no weight is read, and the named pairs need no network.
Hours stand on a rate: this machine's, measured in a second, or the one that `--tflops` assumes. An H100 at 40 % of its
dense bf16 peak does 400. With the defaults, expect reading to take 15 to 40 times the operations of training.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.costs import RunCostsConfig


def main(settings: RunCostsConfig) -> None:
    """Shapes and settings in; operations, bytes and hours out."""
    # These take seconds to import.
    from toolkit.experiments.examine import examine
    from toolkit.reports.console import RunConsole

    console = RunConsole()
    console.findings(examine(settings, console=console))


if __name__ == "__main__":
    run_recipe(main, RunCostsConfig)
