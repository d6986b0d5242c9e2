"""What would a training run cost, and how does each way of running it change that?

    python recipes/estimate_costs.py --pair qwen-7b
    python recipes/estimate_costs.py --pair qwen-14b --tokens 400000000 --rates here
    python recipes/estimate_costs.py --base ./my-base --distilled ./my-distilled --n-latents 65536 --sparsity l1

Operations and bytes are computed from the models' configs; no weight is read, and the named pairs need no network.
Hours are those of an H100, which was measured; `--rates here` times this machine's matrix products, and `--tflops`
assumes their rate. With the defaults, expect the paper's 400M tokens to take 1.4 hours of an H100 at 1.5B, 4 at 7B and
8 at 14B.
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
