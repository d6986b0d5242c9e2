"""How well do models predict the same texts, each with its own tokenizer?

    python recipes/evaluate_tokenizers.py
    python recipes/evaluate_tokenizers.py --models Qwen/Qwen2.5-Math-1.5B deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B \
        --tokenizers deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --data texts.jsonl --out runs/tokenizers

Without arguments: the embedded base, distilled and control models, in a quarter of a minute on one core. Loss per token
depends on what a token is, so what counts is bits per UTF-8 byte. Expect the distilled model to need far fewer bits
than base for answers that think aloud, and control about as many as base. `--tokenizers` also reads every model with
another's tokenizer, as a crosscoder's two models are read.
"""

from toolkit.artifacts import provenance
from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.tokenizers.measure import TokenizerEvaluationConfig, measure
from toolkit.experiments.tokenizers.page import page
from toolkit.reports.console import RunConsole
from toolkit.reports.files import publish


def main(config: TokenizerEvaluationConfig) -> None:
    """Models and texts in; bits per byte out."""
    console = RunConsole()
    with console.stage("bits a byte"):
        found = measure(config)
        findings = page(config, None, found)
    origin = provenance(seed=config.seed, data=found.origin, inputs=found.inputs)
    publish(config.out, console, findings, origin)


if __name__ == "__main__":
    run_recipe(main, TokenizerEvaluationConfig)
