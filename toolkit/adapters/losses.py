"""What an adapter is trained on: how far its model's predictions and streams lie from the distilled model's."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

LARGEST_LOGITS = 2**25
"""Logits that are held in memory at a time."""


def divergences(
    logits: Callable[[Tensor], Tensor],
    reference: Float[Tensor, "token d_model"],
    streams: Sequence[Float[Tensor, "token d_model"]],
    weights: Float[Tensor, " token"],
    *,
    vocabulary: int,
) -> tuple[Float[Tensor, ""], ...]:
    """Return Σ_token w_token KL(reference‖stream) of each of the streams, in nats.

    `logits` maps last streams to logits over `vocabulary` ids. They are made and turned into gradients of the streams
    chunk by chunk, so that memory does not grow with the number of tokens; the weights of `logits` get no gradient.
    """
    return _Divergences.apply(logits, vocabulary, reference, weights, *streams)


class _Divergences(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Callable[[Tensor], Tensor],
        vocabulary: int,
        reference: Tensor,
        weights: Tensor,
        *streams: Tensor,
    ) -> tuple[Tensor, ...]:
        sums = [weights.new_zeros(()) for _ in streams]
        gradients = [torch.empty_like(stream) for stream in streams]
        size = max(1, LARGEST_LOGITS // vocabulary)
        for start in range(0, len(reference), size):
            chunk = slice(start, start + size)
            expected = logits(reference[chunk]).float().log_softmax(dim=-1)
            for number, stream in enumerate(streams):
                with torch.enable_grad():
                    part = stream[chunk].detach().requires_grad_()
                    found = logits(part).float().log_softmax(dim=-1)
                    each = (expected.exp() * (expected - found)).sum(dim=-1)
                    total = weights[chunk] @ each.to(weights.dtype)
                    (gradients[number][chunk],) = torch.autograd.grad(total, part)
                sums[number] += total.detach()
        ctx.save_for_backward(*gradients)
        return tuple(sums)

    @staticmethod
    def backward(ctx: Any, *of_sums: Tensor) -> tuple[Tensor | None, ...]:
        pulled = (
            gradient * of_sum.to(gradient.dtype) for gradient, of_sum in zip(ctx.saved_tensors, of_sums, strict=True)
        )
        return (None, None, None, None, *pulled)


def normalised_errors(
    streams: Sequence[Float[Tensor, "row position d_model"]],
    reference: Sequence[Float[Tensor, "row position d_model"]],
    mask: Float[Tensor, "row position"],
) -> Float[Tensor, " site"]:
    """Return Σ‖h − h_ref‖² / Σ‖h_ref‖² over each row's tokens where the mask is 1, averaged over rows, for each site.

    The first token's norm is far above the others' in many models, and dominates the denominator. Source: Hu et al.
    2026, section 3, as released.
    """
    found = []
    for stream, expected in zip(streams, reference, strict=True):
        error, size = ((each.float().square().sum(dim=-1) * mask).sum(dim=1) for each in (stream - expected, expected))
        found.append((error / size).mean())
    return torch.stack(found)
