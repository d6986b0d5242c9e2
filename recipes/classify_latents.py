"""Which latents belong to the base model alone, which to the distilled model alone, and which are shared?

    python recipes/classify_latents.py
    python recipes/classify_latents.py --run runs/qwen-1.5b --labels traces.jsonl --out runs/qwen-1.5b/classes

Without arguments it examines the shipped crosscoder of the embedded pair, in a minute on one core and 1 GB. Decoder
norms tag every latent, under both conventions of the field. For latents that look exclusive, latent scaling then tests
whether the other model lacks them (Minder et al. 2025). All is counted in crosscoders of three seeds, and in three of
the null pair, base and a control that was trained on without distillation. Expect most latents near the neutral NRN and
about 59 that look distilled only, of which 42 survive; but the null pair has 50, of which 28 survive, so that neither
claim holds with three seeds. Baek & Tegmark 2025 report NRN alone, of one crosscoder.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.latent_classes import LatentClassesConfig

if __name__ == "__main__":
    run_recipe(publish, LatentClassesConfig)
