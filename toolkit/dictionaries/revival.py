"""Losses that bring dead latents back; each reaches the rows of the dead latents alone.

They are plain differentiable functions: autograd on a few hundred gathered rows costs little.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.dictionaries.weights import Pass, Weights

MOST_AT_ONCE = 512  # dead latents taken in one step, in turn: bounds the cost at a few per cent of a step
KEPT_PER_TOKEN = 64  # dead latents that reconstruct the error of one token


def choose_dead(silent_tokens: Int[Tensor, " latent"], dead_after: int, step: int) -> Int[Tensor, " dead"]:
    """Return dead latents, at most 512 of them: another stretch of the list each step."""
    dead = (silent_tokens >= dead_after).nonzero().squeeze(1)
    if len(dead) <= MOST_AT_ONCE:
        return dead
    turn = torch.arange(MOST_AT_ONCE, device=dead.device) + step * MOST_AT_ONCE
    return dead[turn % len(dead)]


def auxk_loss(x: Float[Tensor, "token width"], error: Float[Tensor, "token width"], rows: Weights) -> Float[Tensor, ""]:
    """Return mean_token ‖ê − (x − x̂)‖², ê being the best dead latents' reconstruction of what is missing.

    `error` is x̂ − x; `rows` are the weights of dead latents. Source: Gao et al. 2024, section A.2.
    """
    codes = torch.relu(x @ rows.W_enc.t() + rows.b_enc)
    if codes.shape[1] > KEPT_PER_TOKEN:
        scores = codes.detach() * rows.W_dec.detach().norm(dim=1)
        lowest_kept = scores.topk(KEPT_PER_TOKEN, dim=1).values[:, -1:]
        codes = codes * (scores >= lowest_kept)
    return (codes @ rows.W_dec + error).square().sum(dim=1).mean()


def preactivation_loss(
    x: Float[Tensor, "token width"], norms: Float[Tensor, " dead"], rows: Weights
) -> Float[Tensor, ""]:
    """Return mean_token Σ_k relu(θ_k − score_k): pushes dead latents' scores up until they fire (θ = 0 for l1).

    Thresholds and norms are held fixed, so only the encoder moves. Source: Anthropic, Circuits Updates,
    January 2025.
    """
    scores = (x @ rows.W_enc.t() + rows.b_enc) * norms.detach()
    threshold = rows.log_threshold.detach().exp() if rows.log_threshold is not None else 0.0
    return torch.relu(threshold - scores).sum(dim=1).mean()


def add_revival(
    x: Float[Tensor, "token width"],
    found: Pass,
    weights: Weights,
    dead: Int[Tensor, " dead"],
    coefficient: float,
    norms: Float[Tensor, " dead"] | None = None,
) -> Float[Tensor, ""]:
    """Add the gradient of coefficient × revival loss to the dead rows of `found.gradients`; return the loss.

    The loss is the pre-activation one where decoder `norms` are given, else AuxK.
    """
    if len(dead) == 0:
        return x.new_zeros(())
    with torch.enable_grad():
        rows = Weights(
            W_enc=weights.W_enc[dead].requires_grad_(),
            b_enc=weights.b_enc[dead].requires_grad_(),
            W_dec=weights.W_dec[dead].requires_grad_(),
            b_dec=weights.b_dec,
            log_threshold=None if weights.log_threshold is None else weights.log_threshold[dead],
        )
        loss = auxk_loss(x, found.error, rows) if norms is None else preactivation_loss(x, norms, rows)
        moved = (rows.W_enc, rows.b_enc, rows.W_dec)
        by_row = torch.autograd.grad(coefficient * loss, moved, allow_unused=True, materialize_grads=True)
    gradients = (found.gradients.W_enc, found.gradients.b_enc, found.gradients.W_dec)
    for gradient, dead_rows in zip(gradients, by_row, strict=True):
        gradient.index_add_(0, dead, dead_rows)
    return loss.detach()
