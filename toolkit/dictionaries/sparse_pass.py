"""What a sparse step shares, whichever its rule: one large matrix product, then work on the kept codes.

With Σ_s‖W_dec,k^s‖ folded into the encoder rows, the product over all streams at once yields the scores
themselves. They are laid out [latent, token]: a latent's row stays in cache while its tokens are gathered, which
nearly halves the time of the sparse products. bf16 and TF32 find candidates only; their codes are computed in fp32.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.difference_loss import pull
from toolkit.dictionaries.precision import rounds_factors
from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.weights import Batch, Pass, Weights

SPARSE_PRODUCTS = 4  # decoding, gradients of codes, of the encoder, of the decoder


class Candidates(NamedTuple):
    """Latents that may fire on their tokens, rows and columns of the pattern."""

    pattern: SparsePattern
    codes: Float[Tensor, " nonzero"]
    """Activations, not norm-weighted."""
    scores: Float[Tensor, " nonzero"]
    """The same, norm-weighted."""

    @classmethod
    def of(cls, batch: Batch, pattern: SparsePattern, scores_by_product: Callable[[], Tensor]) -> "Candidates":
        """Return those of the pattern, with their scores by the large product; where it rounds, these are not asked
        for, and codes are computed in fp32."""
        assert batch.training.precision != "auto", "what auto stands for is known where a trainer begins"
        weights, norms = batch.weights, batch.norms[pattern.rows]
        if not rounds_factors(batch.training.precision):
            scores = scores_by_product()
            return cls(pattern, scores / norms, scores)
        codes = batch.products.codes(pattern, weights.W_enc, weights.b_enc, batch.x)
        return cls(pattern, codes, codes * norms)

    def from_(self, floor: Float[Tensor, "..."]) -> "Candidates":
        """Return those whose scores are positive and no less than the floor, which is one or one of each."""
        kept = ((self.scores >= floor) & (self.scores > 0)).nonzero().squeeze(1)
        return Candidates(self.pattern.restricted(kept), self.codes[kept], self.scores[kept])


def all_scores(batch: Batch) -> Float[Tensor, "latent token"]:
    """Return every latent's score on every token, in a buffer that the next step takes again."""
    bias = score_bias(batch).to(batch.dtype)[:, None]
    return torch.addmm(bias, *_factors(batch), out=_scores_buffer(batch))


def scores_without_bias(batch: Batch) -> Float[Tensor, "latent token"]:
    """Return `all_scores` less each latent's `score_bias`, which torch would first copy to every token."""
    return torch.mm(*_factors(batch), out=_scores_buffer(batch))


def score_bias(batch: Batch) -> Float[Tensor, " latent"]:
    """Return what a latent's bias adds to its scores."""
    return batch.weights.b_enc * batch.norms


def _factors(batch: Batch) -> tuple[Tensor, Tensor]:
    W_enc, encoder = batch.weights.W_enc, batch.scaled_encoder
    if encoder is None:
        encoder = batch.workspace.empty("encoder", W_enc.shape, like=batch.x, dtype=batch.dtype)
        torch.mul(W_enc, batch.norms[:, None], out=encoder)  # multiplied in fp32, whatever the buffer's type
    return encoder, batch.x.to(batch.dtype).t()


def _scores_buffer(batch: Batch) -> Tensor:
    return batch.workspace.empty("scores", (len(batch.weights.W_enc), len(batch.x)), like=batch.x, dtype=batch.dtype)


def sparse_pass(batch: Batch, fired: Candidates, cut: Float[Tensor, ""]) -> Pass:
    """Return gradients of mean_token ‖x̂ − x‖², with what `difference_weight` adds, when these latents fire; `cut` is
    what `Pass` says."""
    x, weights, latents = batch.x, batch.weights, batch.workspace.split.latents
    pattern, codes = fired.pattern, fired.codes
    start = weights.b_dec - x if latents.is_first else torch.zeros_like(x)
    error = batch.products.decode(pattern, codes, weights.W_dec, start)
    latents.sum_(error)
    error_gradient = pull(error, batch.training.difference_weight) * (2 / len(x))
    out = _gradient_buffer(batch, "W_enc_gradient"), _gradient_buffer(batch, "W_dec_gradient")
    by_row = batch.products.weight_gradients(pattern, codes, x, error_gradient, weights.W_dec, out)
    gradients = Weights(by_row.W_enc, by_row.b_enc, by_row.W_dec, b_dec=error_gradient.sum(dim=0))
    fired_on = pattern.starts.diff().long()
    return Pass(gradients, error, fired_on, x.new_zeros(()), cut, by_row.row_squares)


def _gradient_buffer(batch: Batch, name: str) -> Tensor:
    return batch.workspace.empty(name, batch.weights.W_dec.shape, like=batch.x, dtype=batch.x.dtype)


def sparse_flops(training: TrainingConfig, width: int) -> int:
    """Operations a token of a sparse step: one product of all latents, and work on k latents otherwise.

    bf16 and tf32 compute the kept codes once more, in fp32.
    """
    products = SPARSE_PRODUCTS + rounds_factors(training.precision)
    return 2 * training.n_latents * width + products * 2 * training.k * width
