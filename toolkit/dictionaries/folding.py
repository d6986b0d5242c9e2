"""Scales, means and code norms folded into the weights, so that a crosscoder takes raw activations."""

from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.weights import EPSILON, Weights


def fold_weights(
    weights: Weights,
    code_norms: Float[Tensor, " latent"],
    scale: Float[Tensor, " stream"],
    mean: Float[Tensor, "stream d_model"] | None = None,
) -> dict[str, Tensor]:
    """Return the tensors on raw activations that equal weights trained on (x − mean) · scale.

    With s the scale of a stream, μ its mean and n_k the factor that makes a code of an activation:
    W_enc ↦ n_k s W_enc, b_enc ↦ n_k (b_enc − W_enc s μ), W_dec ↦ W_dec / (n_k s), b_dec ↦ b_dec / s + μ.
    """
    norms = code_norms.clamp(min=EPSILON)
    by_stream = (len(scale), -1)
    encoder = weights.W_enc.unflatten(1, by_stream) * (norms[:, None, None] * scale[:, None])
    b_enc, b_dec = weights.b_enc * norms, weights.b_dec.unflatten(0, by_stream) / scale[:, None]
    if mean is not None:
        b_enc, b_dec = b_enc - encoder.flatten(1) @ mean.flatten(), b_dec + mean
    decoder = weights.W_dec.unflatten(1, by_stream) / (norms[:, None, None] * scale[:, None])
    return {"W_enc": encoder, "b_enc": b_enc, "W_dec": decoder, "b_dec": b_dec}
