"""The ablation that is asked for, on the held-out text of a run."""

from dataclasses import replace
from itertools import islice

from toolkit.experiments.ablation import AblationConfig
from toolkit.experiments.ablation.study import AblationStudy, ablation_study
from toolkit.experiments.run import Subject
from toolkit.latents.categories import categories, load_lexicon
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.training.streams import fitting_tokens, open_tokens


def measure(config: AblationConfig, subject: Subject) -> AblationStudy:
    """Run the study on the subject's text."""
    lexicon = categories(subject.pair.tokenizer, load_lexicon(config.lexicon))
    run = subject.config
    # Whole logits of every other row are held at once, so with a large vocabulary a batch has few rows.
    batch_tokens = fitting_tokens(run, LARGEST_LOGITS, subject.pair.vocab_size, rows=2)
    tokens = open_tokens(run, subject.pair, subject.corpus.held_out, batch_tokens=batch_tokens)
    batches = islice(tokens, max(1, config.tokens // batch_tokens))
    mask = subject.open_mask()
    settings = config.settings()
    settings = replace(settings, method=replace(settings.method, layer=subject.layer))
    return ablation_study(subject.pair, subject.crosscoder, batches, mask, lexicon, settings)
