"""Word pairs in the input embeddings, by the harmonic-loss paper's parallelogram loss."""

import torch

from toolkit.experiments.control import is_embedded
from toolkit.experiments.word_geometry.measure import embedded_loss, enough_pairs
from toolkit.geometry.parallelogram import PairDraws, ParallelogramLoss
from toolkit.harvest.word_pairs import load_word_pairs, single_tokens, word_rows, word_states
from toolkit.leaving_out import measurable
from toolkit.models.model_set import ModelSet

REMEDY = "recipes/geometry.py takes other words"


def embedded_words(models: ModelSet, seed: int) -> tuple[dict[str, dict[str, ParallelogramLoss]], dict[str, str]]:
    """Return the loss of each shipped class of word pairs in each model, and why a class has none, by name."""
    given = load_word_pairs(["embedded" if is_embedded(models) else "everyday"])
    by_name = {words.name: single_tokens(models.tokenizer, words) for words in given}
    kept, left_out = measurable(by_name, lambda name: enough_pairs(by_name[name], REMEDY))
    generator = torch.Generator().manual_seed(seed)
    losses: dict[str, dict[str, ParallelogramLoss]] = {}
    for name, words in kept.items():
        draws, rows = PairDraws.draw(len(words.pairs), generator), word_rows(words.ids.flatten(), None)
        models.check_ids(rows, torch.ones_like(rows))
        losses[name] = {
            model: embedded_loss(word_states(each, rows, [0])[0], draws) for model, each in models.models.items()
        }
    return losses, left_out
