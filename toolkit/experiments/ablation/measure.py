"""The ablation that is asked for, on the held-out text of a run."""

from dataclasses import replace
from itertools import islice

from toolkit.experiments.ablation import AblationConfig
from toolkit.experiments.ablation.study import AblationStudy, ablation_study
from toolkit.experiments.run import Run
from toolkit.latents.categories import categories, load_lexicon
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.training.streams import fitting_tokens


def measure(config: AblationConfig, run: Run) -> AblationStudy:
    """Run the study on the run's text."""
    lexicon = categories(run.models.tokenizer, load_lexicon(config.lexicon))
    # Whole logits of every other row are held at once, so with a large vocabulary a batch has few rows.
    batch_tokens = fitting_tokens(run.reading.text, LARGEST_LOGITS, run.models.vocab_size, rows=2)
    tokens = run.tokens(batch_tokens=batch_tokens)
    batches = islice(tokens, max(1, config.tokens // batch_tokens))
    mask = run.open_mask()
    settings = config.settings()
    settings = replace(settings, method=replace(settings.method, layer=run.layer))
    return ablation_study(run.models, run.crosscoder, batches, mask, lexicon, settings)
