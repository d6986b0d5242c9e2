"""What an adapter is trained on: how far its model's predictions and streams lie from the distilled model's."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.linalg import vector_norm

LARGEST_LOGITS = 2**26
"""Logits of a chunk. Of a model with 152k ids these are 440 tokens: enough for a GPU's products."""


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
            expected = logits(reference[chunk]).log_softmax(dim=-1, dtype=torch.float32)
            shares = expected.exp()
            own = expected.mul_(shares).sum(dim=-1)
            for number, stream in enumerate(streams):
                with torch.enable_grad():
                    part = stream[chunk].detach().requires_grad_()
                    raw = logits(part)
                found = raw.detach().log_softmax(dim=-1, dtype=torch.float32)
                sums[number] += weights[chunk] @ (own - (shares * found).sum(dim=-1)).to(weights.dtype)
                of_logits = torch.sub(found.exp_(), shares, out=torch.empty_like(raw))  # one token's, of its own KL
                (gradient,) = torch.autograd.grad(raw, part, of_logits)
                gradients[number][chunk] = gradient * weights[chunk, None].to(gradient.dtype)
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
        norms = (vector_norm(each, dim=-1, dtype=torch.float32) for each in (stream - expected, expected))
        error, size = ((norm.square() * mask.to(norm.device)).sum(dim=1) for norm in norms)
        found.append((error / size).mean())
    return torch.stack(found)
