"""Are harmonic probes as good as logistic ones, and do their centres steer?

    python recipes/harmonic_probes.py
    python recipes/harmonic_probes.py --toward tone
    python recipes/harmonic_probes.py --base ./base --distilled ./distilled --spans traces.jsonl

A harmonic probe has a point for each class, and a class's probability falls with a power of the distance to it. Both
probes are fitted to the same activations of every layer, and tested on other documents; three draws of documents say
how they vary. Answers are then steered from one class's centre to the other's, as a shift and by moving to the point,
beside the logistic direction, the class means, a latent, and the best of 16 random directions. Last comes the check of
the loss itself: the lattice of Baek, Liu, Tyagi & Tegmark 2025, whose networks it trains; probes are ours.

On the embedded pair, in five minutes on two busy cores and some three on quiet ones, expect no advantage: of 48 cells
of label, layer and model the harmonic probe is better in 4 and worse in 6, and needs as many tokens. At layer 3 of the
distilled model both tell behaviours by .92 and tone by .79; kinds of problem it tells by .03 less. Its centres do not
steer: moving toward hesitation lengthens answers less than the best random direction, while latent 623 lengthens them
more. The lattice lies in a plane (.999 of the variance), and after cross-entropy it does not (.65).
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.harmonic_probes import HarmonicProbesConfig

if __name__ == "__main__":
    run_recipe(publish, HarmonicProbesConfig)
