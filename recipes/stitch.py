"""Can a model's later layers use what another model's first layers made?

    python recipes/stitch.py
    python recipes/stitch.py --cuts 2 4 --maps ridge orthogonal --n-problems 0 --out runs/stitch-few
    python recipes/stitch.py --pair qwen-1.5b --cuts 7 14 21 --steps 0 --n-problems 0

At a cut the receiver's stream is replaced by the other model's, through a map: nothing (identity), a shift of the mean,
a rotation, an affine map by ridge regression, or an affine map that is trained on cross-entropy, from the ridge and
from zero. Each map is fitted on one part of the text; on another the page says what it costs the receiver, by kind of
position. Both directions are done, and each model stitched to itself, which costs nothing without a map. Then the
stitched models answer problems: do they still say "Wait"?

On the embedded pair, in three minutes on two cores, by KL(receiver ‖ stitched) in nats a token: distilled's later
three layers lose 2.4 (2.2 to 2.7) with base's first three by the ridge, 4.5 by the identity, 3.7 by a shift of the mean
and 1.3 by the trained map; base's lose 1.9, 5.2, 3.9 and 3.6 with distilled's. A control's later layers lose 2.0 with
base's first three by the ridge. Words of hesitation cost 4.1, and no more than a control's do, beyond other thinking.
Stitched models still say "Wait", 2.3 times in 1,000 tokens by the ridge, and answer none of 32 problems rightly.
Excess cross-entropy stands beside KL, and says as much where the receiver predicts the text well (2.4 for distilled);
base never saw chats or thinking, reads them at 10.8 nats where a uniform guess has 7.4, and predicts them better from
a stream that is brought over badly. Trained from zero for 100 steps, a map does not get below the 10.1 that it starts
from.

Differs from Baek, Li & Tegmark 2024, who train affine maps from zero alone: the closed form needs one reading of both
models for all cuts.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.stitching import StitchingConfig

if __name__ == "__main__":
    run_recipe(publish, StitchingConfig)
