"""topk: the k largest scores of each token fire."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.dictionaries.revival import auxk_loss
from toolkit.dictionaries.rules.rule import Rule
from toolkit.dictionaries.schedules import KEPT
from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_pass import Candidates, all_scores, sparse_flops, sparse_pass
from toolkit.dictionaries.weights import Batch, Pass


def topk_pass(batch: Batch) -> Pass:
    """Return gradients of mean_token ‖x̂ − x‖² when k latents of each token fire."""
    scores, k = all_scores(batch), int(batch.strength)
    flat = topk_positions(scores, min(k, len(scores)))
    pattern = SparsePattern.from_flat(flat, (len(scores), len(batch.x)))
    candidates = Candidates.of(batch, pattern, lambda: scores.view(-1)[flat])
    return sparse_pass(batch, candidates.from_(_smallest_kept(batch, candidates, k)), cut=scores.new_zeros(()))


def topk_positions(scores: Float[Tensor, "latent token"], k: int) -> Int[Tensor, " nonzero"]:
    """Return ascending flat positions of the k largest scores of each token."""
    n_tokens = scores.shape[1]
    latents = scores.t().contiguous().topk(k, dim=1).indices  # a GPU is slow along a dimension that is not the last
    return (latents * n_tokens + torch.arange(n_tokens, device=scores.device)[:, None]).flatten().sort().values


def _smallest_kept(batch: Batch, candidates: Candidates, k: int) -> Tensor:
    """For each candidate, the k-th largest score of its token on all ranks, each with as many candidates a token."""
    latents, pattern, scores = batch.workspace.split.latents, candidates.pattern, candidates.scores
    if latents.size == 1:
        return scores.new_zeros(())
    by_latent = scores[torch.argsort(pattern.columns, stable=True)].view(pattern.shape[1], -1).t()
    return latents.gathered(by_latent).topk(k, dim=0).values[-1][pattern.columns]


def fire(codes: Float[Tensor, "token latent"], _threshold: Tensor, k: int) -> Float[Tensor, "token latent"]:
    """Keep the k largest codes of each token."""
    kept = torch.zeros_like(codes, dtype=torch.bool).scatter_(1, codes.topk(k, dim=1).indices, True)
    return codes * kept


RULE = Rule(pressure=KEPT, run_pass=topk_pass, revival_loss=auxk_loss, fire=fire, step_flops=sparse_flops)
