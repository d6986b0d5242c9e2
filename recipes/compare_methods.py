"""Which method finds what distillation planted?

    python recipes/compare_methods.py
    python recipes/compare_methods.py --base ./my-base --distilled ./my-distilled --control ./my-control \\
        --data traces.jsonl --labels traces.jsonl --out runs/mine/compare_methods

Crosscoders of four sparsity rules, with designated exclusive latents and with a loss on the difference; autoencoders of
the distilled model and of the difference; PCA, means and first positions of the difference; and changed predictions.
Each is tried at several sizes and sparsities, chosen on half of the labelled documents and tested on the other half,
between random units and a linear probe. On base and control, where nothing was distilled, the same methods show what
they claim by chance. The embedded pair takes about ten minutes on two cores and 2 GB. `results.json` holds every
number.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.compare_methods import CompareMethodsConfig
from toolkit.experiments.examine import publish

if __name__ == "__main__":
    run_recipe(publish, CompareMethodsConfig)
