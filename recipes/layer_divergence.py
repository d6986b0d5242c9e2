"""At which layers does distillation change the residual stream, and how far?

    python recipes/layer_divergence.py
    python recipes/layer_divergence.py --pair qwen-1.5b --out runs/qwen-1.5b/layer_divergence

Without arguments it compares the embedded pair, in half a minute on one core. Both models read the same held-out
tokens, every layer in one pass. Two yardsticks stand beside the distances: the distilled model at a random other token,
and, where there is one, a control that was trained further without distillation. Expect the distance to grow with depth
and the cosine to fall, both far from what another token gives. Intervals take documents, not tokens, as samples.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.layer_divergence import LayerDivergenceConfig

if __name__ == "__main__":
    run_recipe(publish, LayerDivergenceConfig)
