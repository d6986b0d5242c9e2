"""Losses that bring dead latents back; each reaches the rows of the dead latents alone.

They are plain differentiable functions: autograd on a few hundred gathered rows costs little.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.dictionaries.sparse_products.products import row_squares
from toolkit.dictionaries.weights import Batch, Pass, Weights

MOST_AT_ONCE = 512  # dead latents taken in one step, in turn: bounds the cost at a few per cent of a step
KEPT_PER_TOKEN = 64  # dead latents that reconstruct the error of one token


def choose_dead(
    is_dead: Bool[Tensor, " latent"], n_dead: int, step: int, latents: Ranks = ALONE, first: int = 0
) -> Int[Tensor, " dead"]:
    """Return dead latents, at most 512 of all ranks: another stretch of the list each step.

    `n_dead` is how many of this rank's latents are dead: who knows it need not wait for a GPU to count them. `first` is
    the place of this rank's first latent among all; what is returned counts from it.
    """
    dead = latents.gathered(is_dead.byte().argsort(descending=True, stable=True)[:n_dead] + first)
    if len(dead) > MOST_AT_ONCE:
        turn = torch.arange(MOST_AT_ONCE, device=dead.device) + step * MOST_AT_ONCE
        dead = dead[turn % len(dead)]
    own = dead - first
    if latents.size == 1:
        return own
    return own[(own >= 0) & (own < len(is_dead))]


def auxk_loss(
    x: Float[Tensor, "token width"],
    error: Float[Tensor, "token width"],
    rows: Weights,
    _norms: Float[Tensor, " dead"],
) -> Float[Tensor, ""]:
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
    x: Float[Tensor, "token width"],
    rows: Weights,
    norms: Float[Tensor, " dead"],
    threshold: Float[Tensor, "..."],
) -> Float[Tensor, ""]:
    """Return mean_token Σ_k relu(θ_k − score_k): pushes dead latents' scores up until they fire.

    `norms` make scores of activations; they and the thresholds θ are held fixed, so only the encoder moves. Source:
    Anthropic, Circuits Updates, January 2025.
    """
    scores = (x @ rows.W_enc.t() + rows.b_enc) * norms.detach()
    return torch.relu(threshold - scores).sum(dim=1).mean()


def add_revival(
    batch: Batch,
    found: Pass,
    dead: Int[Tensor, " dead"],
    revival_loss: Callable[[Tensor, Tensor, Weights, Tensor], Tensor],
) -> Float[Tensor, ""]:
    """Add the gradient of aux_coefficient × revival loss to the dead rows of `found`; return the loss.

    Where ranks share out the latents, each computes it of all their dead latents, for these reconstruct the error
    together, and keeps its own rows.
    """
    latents, weights = batch.workspace.split.latents, batch.weights
    place = latents.place_of(dead)
    rows = Weights(
        W_enc=latents.gathered(weights.W_enc[dead]),
        b_enc=latents.gathered(weights.b_enc[dead]),
        W_dec=latents.gathered(weights.W_dec[dead]),
        b_dec=weights.b_dec,
        extra={name: latents.gathered(values[dead]) for name, values in weights.extra.items()},
    )
    norms = latents.gathered(batch.norms[dead])
    if len(norms) == 0:
        return batch.x.new_zeros(())
    moved = [rows.W_enc.requires_grad_(), rows.b_enc.requires_grad_(), rows.W_dec.requires_grad_()]
    with torch.enable_grad():
        loss = revival_loss(batch.x, found.error, rows, norms)
        scaled = batch.training.aux_coefficient * loss
        by_row = torch.autograd.grad(scaled, moved, allow_unused=True, materialize_grads=True)
    gradients = (found.gradients.W_enc, found.gradients.b_enc, found.gradients.W_dec)
    for gradient, dead_rows in zip(gradients, by_row, strict=True):
        gradient.index_add_(0, dead, dead_rows[place])
    if found.row_squares is not None:
        found.row_squares[dead] = row_squares(found.gradients.W_enc[dead], found.gradients.W_dec[dead])
    return loss.detach()
