"""Can a model's later layers use what another model's first layers made?

    python recipes/stitch.py
    python recipes/stitch.py --cuts 2 4 --maps ridge orthogonal --n-problems 0 --out runs/stitch-few
    python recipes/stitch.py --pair qwen-1.5b --cuts 7 14 21 --steps 0

At a cut the receiver's stream is replaced by the other model's, through a map: nothing (identity), a shift of the mean,
a rotation, an affine map by ridge regression, or an affine map that is trained on cross-entropy, from the ridge and
from zero. Each map is fitted on one part of the text; on another the page says what it costs the receiver, by kind of
position. Both directions are done, and each model stitched to itself, which costs nothing without a map. Then the
stitched models answer problems: do they still say "Wait"?

Differs from Baek, Li & Tegmark 2024, who train affine maps from zero alone: the closed form needs one reading of both
models for all cuts.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.stitching import StitchingConfig

if __name__ == "__main__":
    run_recipe(publish, StitchingConfig)
