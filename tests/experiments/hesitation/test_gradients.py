"""A latent's attribution is the slope of the target with its scale, which the model itself tells."""

import pytest
import torch

from toolkit.adapters.modes import Latent
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.hesitation.choosing import log_odds
from toolkit.experiments.hesitation.gradients import Pulls, forwards
from toolkit.experiments.hesitation.study import attributions
from toolkit.latents.categories import Category

STEP = 1e-2


@pytest.mark.parametrize("latent", [(0, 5), (1, 3), (2, 11)])
def test_an_attribution_is_the_slope_of_the_target_with_the_latents_scale(
    planted: AdapterRun, word: Category, latent: Latent
) -> None:
    models = planted.models
    ids = torch.tensor(word.token_ids, device=models.distilled.device)
    (forward,) = forwards(planted, tokens=1)
    everywhere = forward.counted.clone()
    everywhere[:, 0] = True
    pulls = Pulls(models)
    pulls.add(forward, log_odds(forward.logits(forward.counted), ids).sum(), everywhere)
    found = attributions(pulls.sums, [each.W_dec.detach().cpu() for each in models.transcoders.transcoders])[latent]
    mask = everywhere.long()

    def target(scale: float) -> torch.Tensor:
        logits = models.without([latent], scale=scale).logits(forward.input_ids, mask)
        return log_odds(logits[forward.counted].double(), ids).sum()

    slope = (target(1 + STEP) - target(1 - STEP)) / (2 * STEP)
    torch.testing.assert_close(found.double(), slope.cpu(), rtol=0.02, atol=1e-3)


def test_reading_stops_where_enough_tokens_are_read(planted: AdapterRun) -> None:
    counts = [int(forward.counted.sum()) for forward in forwards(planted, tokens=1000)]
    assert sum(counts) >= 1000 > sum(counts[:-1])


def test_log_odds_are_those_of_the_words_together_against_all_others() -> None:
    probabilities = torch.tensor([[0.2, 0.1, 0.3, 0.4]])
    found = log_odds(probabilities.log() + 5, torch.tensor([0, 2]))
    torch.testing.assert_close(found, torch.tensor([0.0]))
