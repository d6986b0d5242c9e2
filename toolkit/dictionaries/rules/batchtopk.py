"""batchtopk: the largest scores of a whole batch fire, k a token on average; a trained crosscoder cuts at a threshold.

The threshold is the mean of the cuts of training batches, corrected for the latest weights.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.collectives import Ranks
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.revival import auxk_loss
from toolkit.dictionaries.rules.rule import Exported, Rule
from toolkit.dictionaries.schedules import KEPT, annealing_steps
from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_pass import Candidates, score_bias, scores_without_bias, sparse_flops, sparse_pass
from toolkit.dictionaries.weights import Batch, Memory, Pass, Weights

MARGINS = (0.98, 0.9, 0.6, 0.0)  # of the last cut; the first leaves about a tenth more than are kept
STRIDE = 61  # of the sample that estimates a first cut; prime, so that it meets all tokens and latents
AVERAGED_SHARE = 0.2  # of the steps at k: where a running mean began counts for less than a hundredth at the end
AVERAGED_TOKENS = 32_768


def batchtopk_pass(batch: Batch) -> Pass:
    """Return gradients of mean_token ‖x̂ − x‖² when k latents a token of the whole batch fire."""
    candidates, cut = _select(batch, int(batch.strength), batch.memory["last_cut"].item())
    return sparse_pass(batch, candidates.from_(cut), cut)


def _select(batch: Batch, k: int, last_cut: float) -> tuple[Candidates, Tensor]:
    """Return all that may fire, and the smallest score that does."""
    split = batch.workspace.split
    n_kept = k * split.tokens.total(len(batch.x))
    bias = score_bias(batch)
    pattern, found = entries_to_keep(batch, scores_without_bias(batch), bias, n_kept, last_cut)
    candidates = Candidates.of(batch, pattern, lambda: found + bias[pattern.rows])
    return candidates, smallest_kept(split.ranks.gathered(candidates.scores), n_kept)


def entries_to_keep(
    batch: Batch,
    products: Float[Tensor, "latent token"],
    bias: Float[Tensor, " latent"],
    n_kept: int,
    last_cut: float,
) -> tuple[SparsePattern, Float[Tensor, " nonzero"]]:
    """Return the pattern of the `n_kept` largest positive scores of all ranks' batch and of somewhat more, and their
    `products`, which are all scores without their `bias`.

    Scores a little below the last batch's cut nearly always suffice; where they do not, the margin grows until
    they do or all positive scores are in. The margin thus costs time only, never exactness. A `last_cut` of 0
    stands for a first batch: its cut is estimated from a sample of the scores.
    """
    ranks = batch.workspace.split.ranks
    cut = last_cut or _sampled_cut(products, bias, n_kept, ranks)
    for margin in MARGINS:
        pattern, found = batch.products.above(products, margin * cut - bias)
        if ranks.total(len(found)) >= n_kept:
            break
    return pattern, found


def _sampled_cut(products: Tensor, bias: Tensor, n_kept: int, ranks: Ranks) -> float:
    sample = products.view(-1)[::STRIDE].float()
    latents = torch.arange(0, products.numel(), STRIDE, device=bias.device) // products.shape[1]
    scores = ranks.gathered(sample + bias[latents])
    return max(0.0, scores.topk(max(1, n_kept // STRIDE)).values[-1].item())


def smallest_kept(scores: Float[Tensor, " nonzero"], n_kept: int) -> Float[Tensor, ""]:
    """Return the `n_kept`-th largest score: all that are as large are kept; 0 keeps all positive ones."""
    surplus = len(scores) - n_kept
    if surplus < 0:
        return scores.new_zeros(())
    return _smallest(scores, surplus + 1).clamp(min=0)


def _smallest(scores: Tensor, n: int) -> Tensor:
    """The n-th smallest score."""
    return scores.kthvalue(n).values if scores.device.type == "cpu" else smallest_by_topk(scores, n)


def smallest_by_topk(scores: Float[Tensor, " nonzero"], n: int) -> Float[Tensor, ""]:
    """Return what `kthvalue(n)` does; on a GPU that gives one vector to one block of threads, and `topk` to all."""
    return scores.topk(n, largest=False, sorted=False).values.max()


def memory(mean: float = 0.0, averaged_steps: int = 0, last_cut: float = 0.0) -> Memory:
    """The mean of the cuts at k, how many are in it, and the last batch's cut."""
    return {
        "threshold": torch.tensor(mean, dtype=torch.float64),
        "averaged_steps": torch.tensor(averaged_steps),
        "last_cut": torch.tensor(last_cut, dtype=torch.float64),
    }


def remember(batch: Batch, cut: float, step: int) -> Memory:
    """Once k is reached, average the cuts.

    A long run takes the running mean that it was asked for. One too short for that takes the plain mean over its last
    steps, and moves it with each update of the weights by the ratio of the same batch's cuts after and before.
    """
    training, averaged = batch.training, int(batch.memory["averaged_steps"])
    if step < annealing_steps(training):
        return dict(batch.memory) | {"last_cut": torch.tensor(cut, dtype=torch.float64)}
    before = steps_before(training, step, averaged)
    decay = training.threshold_decay if before is None else before / (before + 1)
    if not averaged:
        decay = 0.0
    mean = decay * batch.memory["threshold"].item() + (1 - decay) * cut
    if before is not None and cut > 0:
        mean *= _cut_after(batch, cut) / cut
    return memory(mean, averaged + 1, cut)


def steps_before(training: TrainingConfig, step: int, averaged: int) -> int | None:
    """Steps before `step` (from 0) with which the threshold is its plain mean; None where it is the running mean that
    was asked for, which takes five times as many steps as it averages. `averaged` steps are in the mean so far.
    """
    window = 1 / (1 - training.threshold_decay)
    if window <= AVERAGED_SHARE * (averaged + training.steps - step):
        return None
    first = training.steps - math.ceil(AVERAGED_TOKENS / training.batch_tokens)
    return min(averaged, max(0, step - first))


def _cut_after(batch: Batch, cut: float) -> float:
    """The smallest score that the updated weights keep of the batch, at k."""
    if batch.scaled_encoder is None:  # else the norms were written with it
        batch = batch._replace(stream_norms=batch.weights.decoder_norms(batch.stream_norms.shape[1]))
    return _select(batch, batch.training.k, cut)[1].item()


def trained_threshold(_weights: Weights, memory: Memory) -> Float[Tensor, ""]:
    """The mean; until k is reached there is none, and the last batch's cut is the best guess."""
    return memory["threshold" if memory["averaged_steps"] else "last_cut"].float()


def fire(codes: Float[Tensor, "token latent"], threshold: Float[Tensor, ""], _k: int) -> Float[Tensor, "token latent"]:
    """Keep codes above the threshold."""
    return codes * (codes > threshold)


def export(threshold: Float[Tensor, ""]) -> Exported:
    """The format's own rule."""
    return Exported(torch.ones(()), threshold)


RULE = Rule(
    pressure=KEPT,
    run_pass=batchtopk_pass,
    revival_loss=auxk_loss,
    memory=memory(),
    remember=remember,
    threshold_shape=lambda n_latents: (),
    threshold=trained_threshold,
    fire=fire,
    step_flops=sparse_flops,
    export=export,
)
