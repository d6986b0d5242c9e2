"""The truth is autograd on the loss written out: both models' errors, and that of their difference."""

from itertools import islice

import pytest
import torch

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.difference_loss import pull
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.rules.rule import rule_of
from toolkit.dictionaries.sparse_products.plain import PLAIN
from toolkit.dictionaries.train_crosscoder import train_crosscoder
from toolkit.dictionaries.training import CrosscoderTrainer
from toolkit.dictionaries.weights import Batch, Weights, Workspace
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS
from toolkit.training.memory import memory_parts

WEIGHT, K = 3.0, 4


def loss_of(error: torch.Tensor) -> torch.Tensor:
    first, last = error.chunk(2, dim=1)
    return (error.square().sum(dim=1) + WEIGHT * (last - first).square().sum(dim=1)).mean()


@pytest.mark.parametrize("sparsity", ["l1", "topk", "batchtopk", "jumprelu"])
def test_gradients_of_every_rule_match_autograd(make_weights, sparsity):
    x = torch.randn(50, 16, generator=torch.Generator().manual_seed(1))
    weights = make_weights(width=16, thresholds=sparsity == "jumprelu")
    batch = Batch(
        x=x,
        weights=weights,
        stream_norms=weights.decoder_norms(2),
        strength=K if sparsity.endswith("topk") else 0.0,
        training=TrainingConfig(difference_weight=WEIGHT, precision="fp32"),
        dtype=torch.float32,
        workspace=Workspace(),
        products=PLAIN,
        memory=rule_of(sparsity).memory,
    )
    found = rule_of(sparsity).run_pass(batch)
    W_enc, b_enc, W_dec, b_dec = leaves = [tensor.clone().requires_grad_() for tensor in weights[:4]]
    fires = fired(sparsity, x, weights)
    error = torch.relu(x @ W_enc.t() + b_enc) * fires @ W_dec + b_dec - x
    torch.testing.assert_close(found.error, error)
    for gradient, truth in zip(found.gradients[:4], torch.autograd.grad(loss_of(error), leaves), strict=True):
        assert (gradient - truth).norm() <= 1e-5 * truth.norm()


def fired(sparsity: str, x: torch.Tensor, weights: Weights) -> torch.Tensor:
    scores = torch.relu(x @ weights.W_enc.t() + weights.b_enc) * weights.decoder_norms(2).sum(dim=1)
    if sparsity == "l1":
        return scores > 0
    if sparsity == "jumprelu":
        return scores > weights.extra["log_threshold"].exp()
    if sparsity == "topk":
        return scores >= scores.topk(K, dim=1).values[:, -1:]
    return scores >= scores.flatten().topk(K * len(x)).values[-1]


def test_the_loss_is_the_error_times_its_pull():
    error = torch.randn(50, 16, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close((error * pull(error, WEIGHT)).sum(dim=1).mean(), loss_of(error))


def test_without_a_weight_the_error_itself_pulls():
    error = torch.randn(5, 16)
    assert pull(error, 0.0) is error


def test_a_step_reports_the_added_loss(planted):
    x = next(planted(seed=1))
    training = TrainingConfig(
        sparsity="topk", n_latents=32, k=4, k_initial=4, tokens=256, batch_tokens=256, difference_weight=WEIGHT
    )
    state = initialise(training, 2, x, torch.Generator().manual_seed(0))
    trainer = CrosscoderTrainer(training, state, models=("base", "distilled"), layers=(0,))
    before = trainer.crosscoder()
    metrics = trainer.step(x)
    scaled = ((before(x) - x) * state["scale"][:, None]).flatten(1)
    rest = metrics.coefficient * metrics.sparsity_loss + training.aux_coefficient * metrics.aux_loss
    assert metrics.loss - rest > metrics.reconstruction * 1.01
    assert metrics.loss - rest == pytest.approx(loss_of(scaled).item(), rel=1e-4)


def test_a_weight_makes_the_dictionary_reconstruct_the_difference_better(planted):
    def error_of_difference(weight: float) -> float:
        batches = list(islice(planted(seed=1), 80))
        crosscoder = train_crosscoder(
            batches, n_latents=24, k=3, k_initial=6, k_anneal_steps=20, lr=0.01, batch_tokens=256,
            difference_weight=weight,
        )  # fmt: skip
        x = next(planted(seed=2))
        scaled = (crosscoder(x) - x) * torch.tensor(crosscoder.config.scale)[:, None]
        return (scaled[:, 1] - scaled[:, 0]).square().sum(dim=1).mean().item()

    assert error_of_difference(4.0) < 0.8 * error_of_difference(0.0)


def test_one_model_has_no_difference():
    x = torch.randn(64, 1, 8, generator=torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match="difference_weight 1 compares two models, but the number of models is 1: lea"):
        train_crosscoder(x, n_latents=16, k=2, k_initial=2, batch_tokens=32, difference_weight=1.0)


def test_its_memory_is_counted():
    run = EMBEDDED_DEFAULTS
    plans = [TrainingConfig(difference_weight=weight) for weight in (0.0, 1.0)]
    plain, added = (
        memory_parts(run.text, run.feed, [plan], n_streams=2, d_model=160)["--batch-tokens"] for plan in plans
    )
    assert added - plain == 4 * plans[0].batch_tokens * 2 * 160
