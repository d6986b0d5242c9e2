"""Which tokens and which latents of an adapter made the model say a word, and do the edges of that graph hold?

    python recipes/attribute.py
    python recipes/attribute.py --prompt "A farmer has 12 cows." --target Then --compare hybrid distilled

Without arguments it takes the embedded pair's shipped adapter, lets it answer until it says "Wait", and explains that
word, in half a minute on one core. In the local replacement model of the prompt, with norms, attention and gates held
fixed, all edges into a word sum to its logit exactly. In the model itself they are approximations, so the strongest
are tested: what their latents add is taken out, and the measured change stands beside the predicted one, and beside
shuffled predictions. The hybrid's graph of the same word has no latents: it shows what base MLPs do by themselves.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.attribution import AttributionConfig
from toolkit.experiments.examine import publish

if __name__ == "__main__":
    run_recipe(publish, AttributionConfig)
