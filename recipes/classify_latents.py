"""Which latents belong to the base model alone, which to the distilled model alone, and which are shared?

    python recipes/classify_latents.py
    python recipes/classify_latents.py --run runs/qwen-1.5b --labels traces.jsonl --out runs/qwen-1.5b/classes

Without arguments it examines the shipped crosscoder of the embedded pair, in half a minute on one core and 1 GB.
Decoder norms tag every latent, under both conventions of the field. For latents that look exclusive, latent scaling
then tests whether the other model lacks them (Minder et al. 2025); the shared latents are the control. Expect most
latents near NRN 0.5, and in either tail a few dozen, of which three in five survive, as does one in three of the shared
ones. Baek & Tegmark 2025 report NRN alone.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.latent_classes import LatentClassesConfig

if __name__ == "__main__":
    run_recipe(publish, LatentClassesConfig)
