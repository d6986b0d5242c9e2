"""An added loss on the difference of two models: the same codes are also to reconstruct what the last has and the
first lacks.

With e = x̂ − x on scaled activations the whole loss is mean_token [‖e‖² + w ‖e_last − e_first‖²]: codes, decoded with
W_dec^last − W_dec^first, reconstruct x_last − x_first. What distillation changed is a small part of each stream; the
weight w says how much more it counts than what stayed.
"""

import torch
from jaxtyping import Float
from torch import Tensor

MODELS = 2


def pull(error: Float[Tensor, "token width"], weight: float) -> Float[Tensor, "token width"]:
    """Return half the gradient of ‖e‖² + w ‖e_last − e_first‖² by e; with w = 0 that is e itself, and no copy.

    Streams are model-major: the first half of the width is the first model's, at all layers. The loss is quadratic, so
    its value is e · pull(e).
    """
    if weight == 0:
        return error
    first, last = error.chunk(MODELS, dim=1)
    apart = weight * (last - first)
    return torch.cat([first - apart, last + apart], dim=1)


def check_models(weight: float, n_models: int) -> None:
    """Raise `ValueError` for a weight where there are not two models to compare."""
    if weight and n_models != MODELS:
        raise ValueError(
            f"difference_weight {weight:g} compares two models, but the number of models is {n_models}: leave it out"
        )
