"""Turn records of reasoning data into the text that a crosscoder is trained on: how much is there, and how long is it?

    python recipes/prepare_data.py --data open-r1/OpenR1-Math-220k --pair qwen-1.5b --markers drop --out runs/openr1
    python recipes/train_crosscoder.py --pair qwen-1.5b --data runs/openr1/train.jsonl --out runs/qwen-1.5b

Replies stay verbatim, `<think>` and all, also where the model's own chat template would cut the reasoning out. Writes
train.jsonl, held_out.jsonl, and a page with how many tokens the texts have. A thousand records of a thousand tokens
take three seconds beyond the start, and 0.6 GB. Troitskii 2025 trains on answers alone: `--part answer --template
reply`. `--markers drop` is for pairs like Qwen's, whose base model has another token in the place of `<think>`.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.prepared_data import PrepareConfig

if __name__ == "__main__":
    run_recipe(publish, PrepareConfig)
