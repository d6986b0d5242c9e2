"""What do latents mean? Label them by rules or by a language model, and test the labels on other text.

python recipes/annotate_latents.py
python recipes/annotate_latents.py --latents 623 693
python recipes/annotate_latents.py --base-url http://localhost:8000/v1 --model qwen3-8b --n 20
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.latent_annotation import LatentAnnotationConfig

if __name__ == "__main__":
    run_recipe(publish, LatentAnnotationConfig, again="continue")
