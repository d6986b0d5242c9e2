"""The ablation that is asked for, on the held-out text of a run."""

from itertools import islice

from toolkit.experiments.ablation import AblationConfig
from toolkit.experiments.ablation.study import AblationStudy, ablation_study
from toolkit.experiments.run import Run
from toolkit.latents.categories import categories, load_lexicon
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.training.streams import fitting_tokens


def measure(settings: AblationConfig, run: Run) -> AblationStudy:
    """Run the study on the run's text."""
    lexicon = categories(run.models.tokenizer, load_lexicon(settings.lexicon))
    # Whole logits of every other row are held at once, so with a large vocabulary a batch has few rows.
    batch_tokens = fitting_tokens(run.reading.text, LARGEST_LOGITS, run.models.vocab_size, rows=2)
    batches = islice(run.tokens(batch_tokens=batch_tokens), max(1, settings.tokens // batch_tokens))
    return ablation_study(run.models, run.crosscoder, batches, run.open_mask(), lexicon, settings, run.layer)
