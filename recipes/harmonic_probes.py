"""Are harmonic probes as good as logistic ones, and do their centres steer?

    python recipes/harmonic_probes.py
    python recipes/harmonic_probes.py --toward tone
    python recipes/harmonic_probes.py --base ./base --distilled ./distilled --spans traces.jsonl

A harmonic probe has a point for each class, and a class's probability falls with a power of the distance to it. Both
probes are fitted to the same activations of every layer, and tested on other documents; three draws of documents say
how they vary. Answers are then steered from one class's centre to the other's, as a shift and by moving to the point,
beside the logistic direction, the class means, a latent, and the best of 16 random directions. Last comes the check of
the loss itself: the lattice of Baek, Liu, Tyagi & Tegmark 2025, whose networks it trains; probes are ours.

On the embedded pair, in some three minutes on two quiet cores, expect no advantage: of 44 cells of label, layer and
model the harmonic probe is better in none and worse in 8, where chance would give one of either; and it needs about as
many tokens. At layer 3 of the distilled model the balanced accuracy on behaviours is .92 by both, on tone .78 by
logistic and .79 by harmonic probes, on kinds of problem .38 and .36. Harmonic centres do not steer: toward hesitation,
answers lengthen no more than along the best random direction, and along latent 623 they lengthen more than that. The
lattice lies in a plane (.999 of the variance), and after cross-entropy it does not (.63).
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.harmonic_probes import HarmonicProbesConfig

if __name__ == "__main__":
    run_recipe(publish, HarmonicProbesConfig)
