"""What happens to a category's words when its latents are taken out of the models?

    python recipes/ablate.py
    python recipes/ablate.py --paper --out runs/ablate-paper

Latents that fire where "Wait", "Therefore", … are predicted are subtracted from the residual stream of each model. The
change of the word's logit is compared with that for as many random latents, and for latents that fire as strongly.
On the embedded pair, in under a minute: the distilled model's logits fall by 2 to 4, the base model's by about 0.5 at
most, and matched latents take less than 1. Differs from Baek & Tegmark 2025 in that the crosscoder's error is kept,
only undecided words count, and latents are tested on text that did not choose them; `--paper` is their protocol.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.ablation import AblationConfig
from toolkit.experiments.examine import publish

if __name__ == "__main__":
    run_recipe(publish, AblationConfig)
