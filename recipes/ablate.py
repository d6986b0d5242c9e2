"""What happens to a category's words when its latents are taken out of the models?

    python recipes/ablate.py
    python recipes/ablate.py --paper --out runs/ablate-paper

Latents that fire where "Wait", "Therefore", … are predicted are subtracted from the residual stream of each model. That
a category's words fall is claimed only where they fall further than in the base model, than the words of every other
category, and than in the best of 20 draws of each control, of which random vectors as long as what is taken out are the
hardest; and where the edit leaves at least half of the stream. Intervals contain how the run's crosscoders differ, and
the same is done on the null pair, base and control. On the embedded pair, in two minutes on two quiet cores, nothing
shows: the distilled model's logits fall by 2 to 9, by crosscoder, the base model's by 0.5 at most; but random vectors
take up to 5, and other categories' words fall as far, because the categories share most of their latents.
Differs from Baek & Tegmark 2025 in that the crosscoder's error is kept, only undecided words count, latents have a
least lift, and they are tested on text that did not choose them; `--paper` is their protocol, which claims nothing.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.ablation import AblationConfig
from toolkit.experiments.examine import publish

if __name__ == "__main__":
    run_recipe(publish, AblationConfig)
