"""Forward and backward pass of topk and batchtopk: one large matrix product, then work on the kept codes.

With Σ_s‖W_dec,k^s‖ folded into the encoder rows, the product over all streams at once yields the scores
themselves. They are laid out [latent, token]: a latent's row stays in cache while its tokens are gathered, which
nearly halves the time of the sparse products. bf16 finds candidates only; their codes are computed in fp32.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.collectives import Ranks
from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparsity import batchtopk_candidates, batchtopk_cut, topk_positions
from toolkit.dictionaries.weights import Pass, Weights, Workspace


def sparse_pass(
    x: Float[Tensor, "token width"],
    weights: Weights,
    norms: Float[Tensor, " latent"],
    k: int,
    last_cut: float | None,
    dtype: torch.dtype,
    workspace: Workspace,
) -> Pass:
    """Return loss gradients of mean_token ‖x̂ − x‖² when k latents fire per token.

    `norms` is Σ_s‖W_dec,k^s‖; `last_cut` is the last batch's smallest kept score (0 if there was none) for
    batchtopk, None for topk; `dtype` is that of the encoder product.
    """
    pattern, codes, cut = _select(x, weights, norms, k, last_cut, dtype, workspace)
    by_token, order = pattern.transposed()
    latents = workspace.split.latents
    start = weights.b_dec - x if latents.is_first else torch.zeros_like(x)
    error = torch.addmm(start, by_token.matrix(codes[order]), weights.W_dec)
    latents.sum_(error)
    error_gradient = error * (2 / len(x))
    code_gradient = pattern.sampled_product(weights.W_dec, error_gradient)
    gradients = Weights(
        W_enc=_sparse_product(pattern.matrix(code_gradient), x, workspace, "W_enc_gradient"),
        b_enc=torch.zeros_like(weights.b_enc).index_add_(0, pattern.rows, code_gradient),
        W_dec=_sparse_product(pattern.matrix(codes), error_gradient, workspace, "W_dec_gradient"),
        b_dec=error_gradient.sum(dim=0),
    )
    return Pass(gradients, error, pattern.starts.diff().long(), sparsity_loss=x.new_zeros(()), cut=cut)


def batch_cut(
    x: Float[Tensor, "token width"],
    weights: Weights,
    norms: Float[Tensor, " latent"],
    k: int,
    last_cut: float,
    dtype: torch.dtype,
    workspace: Workspace,
) -> float:
    """Return the smallest score that batchtopk keeps when k latents fire per token; arguments as of `sparse_pass`."""
    return _select(x, weights, norms, k, last_cut, dtype, workspace)[2].item()


def _sparse_product(sparse: Tensor, dense: Tensor, workspace: Workspace, name: str) -> Tensor:
    out = workspace.empty(name, (sparse.shape[0], dense.shape[1]), like=dense, dtype=dense.dtype)
    return torch.addmm(out, sparse, dense, beta=0, out=out)  # mm would zero and copy its result


def _select(
    x: Tensor,
    weights: Weights,
    norms: Tensor,
    k: int,
    last_cut: float | None,
    dtype: torch.dtype,
    workspace: Workspace,
) -> tuple[SparsePattern, Tensor, Tensor]:
    """Return which latents fire on which tokens, their codes (not norm-weighted), and the smallest kept score."""
    scores = _scores(x, weights, norms, dtype, workspace)
    split = workspace.split
    n_kept = k * split.tokens.total(len(x))
    if last_cut is None:
        flat = topk_positions(scores, min(k, len(scores)))
    else:
        flat = batchtopk_candidates(scores, n_kept, last_cut, split.ranks)
    pattern = SparsePattern.from_flat(flat, (len(norms), len(x)))
    if dtype == torch.float32:
        codes = scores.view(-1)[flat] / norms[pattern.rows]
    else:
        codes = pattern.sampled_product(weights.W_enc, x) + weights.b_enc[pattern.rows]
    candidate_scores = codes * norms[pattern.rows]
    if last_cut is None:
        cut, floor = x.new_zeros(()), _cuts_by_token(candidate_scores, pattern, k, split.latents)
    else:
        cut = floor = batchtopk_cut(split.ranks.gathered(candidate_scores), n_kept)
    kept = ((candidate_scores >= floor) & (candidate_scores > 0)).nonzero().squeeze(1)
    return pattern.restricted(kept), codes[kept], cut


def _cuts_by_token(scores: Tensor, pattern: SparsePattern, k: int, latents: Ranks) -> Tensor:
    """For each candidate, the k-th largest score of its token on all ranks, each with as many candidates a token."""
    if latents.size == 1:
        return scores.new_zeros(())
    by_latent = scores[torch.argsort(pattern.columns, stable=True)].view(pattern.shape[1], -1).t()
    return latents.gathered(by_latent).topk(k, dim=0).values[-1][pattern.columns]


def _scores(x: Tensor, weights: Weights, norms: Tensor, dtype: torch.dtype, workspace: Workspace) -> Tensor:
    scores = workspace.empty("scores", (len(norms), len(x)), like=x, dtype=dtype)
    encoder = workspace.empty("encoder", weights.W_enc.shape, like=x, dtype=x.dtype)
    torch.mul(weights.W_enc, norms[:, None], out=encoder)
    bias = (weights.b_enc * norms).to(dtype)[:, None]
    return torch.addmm(bias, encoder.to(dtype), x.to(dtype).t(), out=scores)
