"""When does a network generalise instead of memorising?

    python recipes/geneft.py

Two repons, which are representations that a linear decoder reads, move by the equations of GenEFT and by gradient
descent: does the sign of their conserved quantity say whether they meet? And an autoencoder of a graph of 30 nodes is
trained at many learning rates and on many shares of its pairs: where does it tell pairs that it never saw? No model is
read. In less than a minute on two cores, gradient descent ends as the sign says in 95 % of the draws, and in 74 % of
those whose first step overshoots; the graph is learnt where the encoder is fast, from about half of the pairs on.
Differs from Baek et al. 2024 in that starts and rates are drawn at random, that failures of the prediction are counted,
and that intervals are over seeds.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.geneft import GenEFTConfig

if __name__ == "__main__":
    run_recipe(publish, GenEFTConfig)
