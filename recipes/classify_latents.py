"""Which latents are the base model's only, which the distilled model's, which are shared?

    python recipes/classify_latents.py
    python recipes/classify_latents.py --run runs/qwen-1.5b --labels traces.jsonl --out runs/qwen-1.5b/classes

Without arguments: the shipped crosscoder of the embedded pair, in half a minute on one core and 1 GB. Decoder norms
tag every latent, under both conventions of the field; latent scaling then asks of those that look exclusive whether the
other model lacks them (Minder et al. 2025), with the shared ones as control. Expect most latents near NRN 0.5, and in
either tail a few dozen, of which three in five survive, as does one in three of the shared ones. Baek & Tegmark
2025 report NRN alone.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.latent_classes import LatentClassesConfig

if __name__ == "__main__":
    run_recipe(publish, LatentClassesConfig)
