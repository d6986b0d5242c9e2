"""A transcoder's output with its gradients: dense where many latents fire, sparse products where few do."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.dictionaries.sparse_codes import SparsePattern, positive_positions

DENSE_FROM = {"cpu": 0.1, "cuda": 0.004}
"""Share of codes above 0 from which dense products are faster. On other devices they are always taken."""
FEWEST_SPARSE = {"cuda": 8192}
"""Tokens below which they are faster whatever fires: to count codes, a GPU's host waits in every layer. On an H100,
with 8192 latents of d_model 1536 of which 16 fire, dense took 1.6 ms and sparse 2.2 ms for 2,048 tokens, 4.7 and 3.3 ms
for 10,000."""


def transcode(
    x: Float[Tensor, "token d_model"],
    W_enc: Float[Tensor, "latent d_model"],
    b_enc: Float[Tensor, " latent"],
    W_dec: Float[Tensor, "latent d_model"],
    b_dec: Float[Tensor, " d_model"],
    token_weights: Float[Tensor, " token"],
) -> tuple[Float[Tensor, "token d_model"], Float[Tensor, ""], Int[Tensor, " latent"]]:
    """Return T(x) = W_decᵀ ReLU(W_enc x + b_enc) + b_dec, its sparsity penalty, and how often each latent fires.

    The penalty is Σ_token w_token Σ_i f_i‖W_dec,i‖; decoder norms get gradients too. Firings are counted where a
    token's weight is above 0. Products are computed in the type of `x`, and gradients of the weights are in the
    weights' own type. Source: Hu et al. 2026, section 3.
    """
    return _Transcode.apply(x, W_enc, b_enc, W_dec, b_dec, token_weights)


class _Transcode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, W_enc: Tensor, b_enc: Tensor, W_dec: Tensor, b_dec: Tensor, token_weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        codes = torch.addmm(b_enc.to(x.dtype), x, W_enc.to(x.dtype).t()).relu_()
        norms, flat = W_dec.norm(dim=1), _firing(codes)
        ctx.is_dense = flat is None
        if flat is None:
            y = torch.addmm(b_dec.to(x.dtype), codes, W_dec.to(x.dtype))
            largest = token_weights.max().clamp_min(torch.finfo(norms.dtype).tiny)  # equal weights stay exact in bf16
            sums = ((token_weights / largest).to(x.dtype) @ codes).to(norms.dtype) * largest
            fired = ((codes > 0) & (token_weights > 0)[:, None]).sum(dim=0)
            ctx.save_for_backward(x, W_enc, W_dec, token_weights, norms, sums, codes)
        else:
            pattern, values = SparsePattern.from_flat(flat, (len(codes), codes.shape[1])), codes.view(-1)[flat].float()
            y = torch.addmm(b_dec, pattern.matrix(values), W_dec).to(x.dtype)
            weights = token_weights[pattern.rows]
            sums = torch.zeros_like(norms).index_add(0, pattern.columns, values * weights)
            fired = torch.bincount(pattern.columns[weights > 0], minlength=len(norms))
            ctx.save_for_backward(x, W_enc, W_dec, token_weights, norms, sums, values, pattern.rows, pattern.columns)
        ctx.mark_non_differentiable(fired)
        return y, sums @ norms, fired

    @staticmethod
    def backward(ctx: Any, dy: Tensor, d_penalty: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        back = _dense if ctx.is_dense else _sparse
        return back(ctx.saved_tensors, dy, d_penalty, ctx.needs_input_grad[0])


def _firing(codes: Float[Tensor, "token latent"]) -> Int[Tensor, " nonzero"] | None:
    """Flat positions of codes above 0, where there are so few that sparse products are faster."""
    device = codes.device.type
    dense_from = DENSE_FROM.get(device)
    if device != "cpu" and torch.are_deterministic_algorithms_enabled():  # a GPU's sparse sums have no order
        return None
    if dense_from is None or len(codes) < FEWEST_SPARSE.get(device, 0):
        return None
    flat = positive_positions(codes)
    return flat if len(flat) <= dense_from * codes.numel() else None


def _dense(saved: Sequence[Tensor], dy: Tensor, d_penalty: Tensor, wants_dx: bool) -> tuple[Tensor | None, ...]:
    x, W_enc, W_dec, token_weights, norms, sums, codes = saved
    pull = (d_penalty * token_weights).to(x.dtype)
    d_codes = torch.addmm(torch.outer(pull, norms.to(x.dtype)), dy, W_dec.to(x.dtype).t()).mul_(codes > 0)
    d_W_dec = (codes.t() @ dy).to(W_dec.dtype).add_(_of_norms(d_penalty * sums, norms, W_dec))
    d_W_enc, d_b_enc = (d_codes.t() @ x).to(W_enc.dtype), d_codes.sum(dim=0, dtype=W_enc.dtype)
    dx = d_codes @ W_enc.to(x.dtype) if wants_dx else None
    return dx, d_W_enc, d_b_enc, d_W_dec, dy.sum(dim=0, dtype=W_dec.dtype), None


def _sparse(saved: Sequence[Tensor], dy: Tensor, d_penalty: Tensor, wants_dx: bool) -> tuple[Tensor | None, ...]:
    x, W_enc, W_dec, token_weights, norms, sums, values, rows, columns = saved
    dy, pattern = dy.float(), SparsePattern(rows, columns, (len(x), len(norms)))
    d_values = pattern.sampled_product(dy, W_dec) + d_penalty * token_weights[rows] * norms[columns]
    by_latent, order = pattern.transposed()
    d_W_dec = (by_latent.matrix(values[order]) @ dy).add_(_of_norms(d_penalty * sums, norms, W_dec))
    d_W_enc = by_latent.matrix(d_values[order]) @ x.float()
    dx = (pattern.matrix(d_values) @ W_enc).to(x.dtype) if wants_dx else None
    d_b_enc = torch.zeros_like(norms).index_add(0, columns, d_values)
    return dx, d_W_enc, d_b_enc, d_W_dec, dy.sum(dim=0), None


def _of_norms(d_norms: Tensor, norms: Tensor, W_dec: Tensor) -> Tensor:
    """The gradient of the decoder by way of its rows' norms, 0 for rows of zeros."""
    return (d_norms / torch.where(norms > 0, norms, 1))[:, None] * W_dec
