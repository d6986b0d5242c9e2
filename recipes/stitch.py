"""Can a model's later layers use what another model's first layers made?

    python recipes/stitch.py
    python recipes/stitch.py --cuts 2 4 --maps ridge orthogonal --n-problems 0 --out runs/stitch-few
    python recipes/stitch.py --pair qwen-1.5b --cuts 7 14 21 --steps 0

At a cut the receiver's stream is replaced by the other model's, through a map: nothing (identity), a shift of the mean,
a rotation, an affine map by ridge regression, or an affine map that is trained on cross-entropy, from the ridge and
from zero. Each map is fitted on one part of the text; on another the page says what it costs the receiver, by kind of
position. Both directions are done, and each model stitched to itself, which costs nothing without a map. Then the
stitched models answer problems: do they still say "Wait"?

On the embedded pair, in four minutes on two cores: distilled's later three layers lose 2.4 nats a token (2.1 to 2.7)
from base's first three by the ridge, 4.5 by the identity and 1.2 by the trained map; at words of hesitation the ridge
loses 4.5. They still say "Wait", 2.3 times in 1,000 tokens by the ridge, and answer none of 32 problems rightly. The
other way excess is below 0: base never saw chats or thinking, predicts them at 10.8 nats, and does better from
distilled's stream. The control predicts them at 11.1: that it loses .6 only, by a ridge, says little. Trained from zero
for 100 steps, a map does not get below the 10.1 nats that it starts from.

Differs from Baek, Li & Tegmark 2024, who train affine maps from zero alone: the closed form needs one reading of both
models for all cuts.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.stitching import StitchingConfig

if __name__ == "__main__":
    run_recipe(publish, StitchingConfig)
