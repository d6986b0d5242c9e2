"""How well do models predict the same texts, each with its own tokenizer?

    python recipes/evaluate_tokenizers.py
    python recipes/evaluate_tokenizers.py --models Qwen/Qwen2.5-Math-1.5B deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B \
        --tokenizers deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --data texts.jsonl --out runs/tokenizers

Without arguments it compares the embedded base, distilled and control models, in a quarter of a minute on one core.
Loss per token depends on what a token is, so the measure is bits per UTF-8 byte. Expect the distilled model to need far
fewer bits than base for answers that think aloud, and control about as many as base. `--tokenizers` also reads every
model with another's tokenizer, as a crosscoder's two models are read.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.tokenizers import TokenizerEvaluationConfig

if __name__ == "__main__":
    run_recipe(publish, TokenizerEvaluationConfig)
