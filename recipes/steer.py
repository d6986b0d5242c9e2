"""How do answers change when a latent is added to the residual stream, or subtracted from it?

    python recipes/steer.py
    python recipes/steer.py --category deductive --toward shorter --out runs/steer-deductive
    python recipes/steer.py --latents 623 --suppress

Candidates are the latents with the largest lift where a category's words are predicted. The one that changes answers
most on development questions is compared on fresh ones, by strength, with the best of as many random directions; all
arms use the same random seeds. On the embedded pair, in four minutes on two cores: a self-reflection latent makes
answers longer and more hesitant when it is added and shorter when it is taken away, by more than the best random
direction; from a tenth of the norm upward sums go wrong too.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.steering import SteeringConfig

if __name__ == "__main__":
    run_recipe(publish, SteeringConfig)
