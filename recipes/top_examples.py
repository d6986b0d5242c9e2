"""What makes each latent fire, and which tokens does it promote?

    python recipes/top_examples.py
    python recipes/top_examples.py --latents 3 17 --tokens 65536
    python recipes/top_examples.py --run runs/qwen-1.5b --out runs/qwen-1.5b/top_examples --tokens 1000000

Without arguments it examines all latents of the shipped crosscoder on held-out text of the embedded pair, in 35 s on
one core. Open latents.html: sort by NRN, frequency or a category's lift, search for a token, open a latent. Expect
latents that fire on every "Wait" and hardly elsewhere; their NRN is near the middle, for base reads that token too.

Examples are kept in examples.sqlite. A stopped run continues from its last save, at most half a minute before the stop.
A run with more --tokens, or other --latents, reads only what is missing; for ν it reads the first 32,768 tokens again.
30,000 latents take 180 MB of memory, 230 MB of disk, and 350 MB of pages. Baek & Tegmark 2025 list the strongest
examples only; here each latent also shows a random sample of all its firings.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.top_examples import TopExamplesConfig

if __name__ == "__main__":
    run_recipe(publish, TopExamplesConfig, again="continue")
