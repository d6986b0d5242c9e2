"""Adam on a crosscoder's weights: its moments are tensors of the trainer's state, and gradients are clipped."""

from collections.abc import Container

import torch
from torch import Tensor

from toolkit.dictionaries.weights import Weights

MOMENTS = ("exp_avg", "exp_avg_sq")
BETAS, EPSILON = (0.9, 0.999), 1e-8


def adam(weights: Weights, state: dict[str, Tensor]) -> torch.optim.Adam:
    """Adam that continues from the moments in `state`."""
    optimiser = torch.optim.Adam(list(weights.named().values()), betas=BETAS, eps=EPSILON, fused=True)
    for name, weight in weights.named().items():
        moments = {moment: state[f"{moment}.{name}"] for moment in MOMENTS}
        step = torch.tensor(float(state["step"]), device=weight.device)
        optimiser.state[weight] = {"step": step} | moments
    return optimiser


def update(
    optimiser: torch.optim.Adam,
    weights: Weights,
    gradients: Weights,
    lr: float,
    shrink: float,
    *,
    left_out: Container[str] = (),
) -> None:
    """Take one step with the gradients times `shrink`, at most 1; they may be overwritten. Weights that are left out
    stay as they are."""
    scale, named = None, {name: each for name, each in gradients.named().items() if name not in left_out}
    for name, gradient in named.items():
        weights.named()[name].grad = gradient
    if shrink < 1:
        if weights.b_dec.device.type == "cpu":  # keeps its bytes: dividing by 1 / shrink rounds otherwise
            for gradient in named.values():
                gradient *= shrink
        else:  # in the pass over all gradients that the fused step makes anyway
            scale = torch.full((), 1 / shrink, dtype=torch.float32, device=weights.b_dec.device)
    optimiser.grad_scale = scale  # type: ignore[attr-defined]  # what GradScaler sets: gradients are divided by it
    optimiser.param_groups[0]["lr"] = lr
    optimiser.step()
    optimiser.zero_grad()
