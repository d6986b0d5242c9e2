"""Which latents of an adapter make a model hesitate: does it need them, and do they suffice?

    python recipes/hesitation.py
    python recipes/hesitation.py --run runs/adapter --out runs/hesitation
    python recipes/hesitation.py --quantile .999 --transfer -.25

Output latents add to the log odds of hesitation words where one comes next; template latents feed them at the ends of
sentences and lines. Both are chosen on held-out text, beyond a quantile of random directions and of other latents'
rows, and tested on questions: taken out of the adapter, added to the hybrid, and subtracted from the distilled model,
beside as many random latents and as many matched ones.

On the embedded pair, whose shipped adapter recovers part of the distilled model only, expect no claim to show: without
59 of 3,072 latents most answers go wrong, and wrong answers hesitate as often. The page also says what happens to the
probability of "Wait" on text, where no wrong step follows.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.hesitation import HesitationConfig

if __name__ == "__main__":
    run_recipe(publish, HesitationConfig)
