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
from toolkit.experiments.examine import publish
from toolkit.experiments.word_geometry import WordGeometryConfig

if __name__ == "__main__":
    run_recipe(publish, WordGeometryConfig)
