"""Does the distilled model with the base model's MLPs and an adapter predict, reason and answer as it did before?

    python recipes/evaluate_adapter.py
    python recipes/evaluate_adapter.py --run runs/adapter --sweep runs/adapter-0.003 runs/adapter-0.0003
    python recipes/evaluate_adapter.py --run runs/adapter --temperature .6 --samples 4 --questions problems.jsonl

On held-out text: KL from the distilled model and errors of streams, beside the hybrid (the same model without the
adapter) and two controls, and with only some layers replaced. As a model that answers: accuracy, length and hesitation
of base model, hybrid, adapter and distilled model on the same questions, and how much of what the hybrid lacks the
adapter gives back. Of a sweep over λ: the least L0 at which that is enough.

On the embedded pair, in two to three minutes on two cores: the distilled model is right on 81 % of questions, the
hybrid and the base model on none. The base model, asked as the others are, repeats sums and never closes its thinking;
it is loaded for its answers alone. A run that is interrupted starts anew.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.adapter_evaluation import AdapterEvaluationConfig
from toolkit.experiments.examine import publish

if __name__ == "__main__":
    run_recipe(publish, AdapterEvaluationConfig)
