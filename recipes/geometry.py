"""Do word pairs share a step in activation space (dog → dogs, house → houses), and does distillation change that?

    python recipes/geometry.py
    python recipes/geometry.py --pair qwen-1.5b --words function_vectors/english-french.json --paper
    python recipes/geometry.py --pair qwen-1.5b --spaced

Reads each word after one fixed token and compares every two pairs of a class by their parallelogram loss, against the
same with second words shuffled. On the embedded pair, in 15 seconds, every class shares a step in both models, and the
distilled one less closely. Differs from Baek & Tegmark 2025, who read each word at position 0, where every token is an
attention sink (`--paper`), and show no shuffled pairs.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.control import controlled_origin
from toolkit.experiments.run import open_models
from toolkit.experiments.word_geometry.measure import WordGeometryConfig, measure
from toolkit.experiments.word_geometry.page import page
from toolkit.reports.console import RunConsole
from toolkit.reports.files import publish


def main(config: WordGeometryConfig) -> None:
    """Two models and word pairs in; losses, their null and a page out."""
    console = RunConsole()
    with console.stage("loading models"):
        pair = open_models(config.models, config.where)
    with console.stage("word pairs"):
        found = measure(config, pair)
        findings = page(config, pair, found)
        origin = controlled_origin(config, pair, found.origin())
    publish(config.out, console, findings, origin)
    console.times(console.seconds)


if __name__ == "__main__":
    run_recipe(main, WordGeometryConfig)
