"""Which latents of an adapter make a model hesitate: does it need them, and do they suffice?

    python recipes/hesitation.py
    python recipes/hesitation.py --run runs/adapter --out runs/hesitation
    python recipes/hesitation.py --quantile .999 --transfer -.25

Output latents add to the log odds of hesitation words where one comes next; template latents feed them at the ends of
sentences and lines. Both are chosen on held-out text, beyond a quantile of random directions and of other latents'
rows, and tested on questions: taken out of the adapter, added to the hybrid, and subtracted from the distilled model,
beside as many random latents and as many matched ones.

On an early adapter of the embedded pair the latents that fire where "Wait" comes next fired at the ends of most steps:
without them most answers went wrong, and hesitation fell no further than without matched latents.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.hesitation import HesitationConfig

if __name__ == "__main__":
    run_recipe(publish, HesitationConfig)
