"""Checks activations that people pass, one tensor or batches of any size, and cuts them into batches of one size.

The error about numbers that are not finite is here, too.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Activations = Float[Tensor, "token stream d_model"] | Iterable[object] | Any
"""One tensor or array of raw activations, or any number of them: a list, or an iterator that makes them as it goes.
A `Harvest` is taken for its `activations`."""
LARGEST = 4096  # tokens that are worked on at once, of one tensor


def batches_of(activations: Activations) -> Iterator[Float[Tensor, "token stream d_model"]]:
    """Yield a tensor in pieces, or the given batches one by one.

    Raises `ValueError` for a batch that is not a tensor, has not three axes, is not in floating point, or has another
    shape than the first.
    """
    first: Tensor | None = None
    for values in _each(activations):
        batch = _as_batch(values)
        first = batch if first is None else first
        if batch.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"a batch of shape {tuple(batch.shape)} follows one of shape {tuple(first.shape)}: all batches have the"
                " same streams and d_model"
            )
        if len(batch):
            yield batch


def _each(activations: Any) -> Iterable[Any]:
    activations = held(activations)
    if hasattr(activations, "shape"):
        batch = _as_batch(activations)
        return batch.split(LARGEST) if len(batch) else ()
    if isinstance(activations, Iterable) and not isinstance(activations, str | bytes | dict):
        return activations
    raise ValueError(f"activations are {type(activations).__name__}: give a tensor, or an iterable of tensors")


def held(values: Any) -> Any:
    """Return the activations of a `Harvest`; anything else as it is."""
    return getattr(values, "activations", values)


def _as_batch(values: Any) -> Tensor:
    values = held(values)
    try:
        batch = values if isinstance(values, Tensor) else torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"activations are {type(values).__name__}: give a tensor or an array") from error
    if batch.ndim != 3 or 0 in batch.shape[1:]:
        remedy = "; those of one model alone are x[:, None]" if batch.ndim == 2 else ""
        raise ValueError(
            f"activations of shape {tuple(batch.shape)}: give [token, stream, d_model], one stream for each model and"
            f" layer{remedy}"
        )
    if not batch.is_floating_point():
        raise ValueError(f"activations are {batch.dtype}: give floating-point numbers, as x.float()")
    return batch


def count_tokens(activations: Activations) -> int | None:
    """Return how many tokens there are in all; None for an iterator, which would have to be read to count them."""
    given = _each(activations)
    return sum(len(_as_batch(values)) for values in given) if isinstance(given, list | tuple) else None


def rebatched(
    batches: Iterable[Float[Tensor, "_ stream d_model"]], size: int, generator: torch.Generator
) -> Iterator[Float[Tensor, "size stream d_model"]]:
    """Yield batches of `size` tokens, the tokens of each given batch in random order, on the first one's device.

    What is left over is not used.
    """
    rest: list[Tensor] = []
    missing, device = size, None
    for given in batches:
        device = device or given.device
        batch = given.to(device)
        order = torch.randperm(len(batch), generator=generator).to(device)
        while len(order) >= missing:
            yield torch.cat([*rest, batch[order[:missing]]])
            order, rest, missing = order[missing:], [], size
        if len(order):
            rest.append(batch[order])
            missing -= len(order)


class NonFiniteError(RuntimeError):
    """Raised instead of an update that would put NaN or infinity into the weights.

    `step` is the step that failed; `statistics` has one line per stream of the batch, or what else `of` says.
    """

    def __init__(self, step: int, statistics: tuple[str, ...], of: str = "The batch, raw, per stream") -> None:
        self.step = step
        self.statistics = statistics
        lines = "\n  ".join(statistics)
        super().__init__(f"step {step} met NaN or infinity; the weights are as before it. {of}:\n  {lines}")


def describe_streams(x: Float[Tensor, "token stream d_model"]) -> tuple[str, ...]:
    """Return one line per stream: mean, largest magnitude and share of values that are not finite."""
    lines = []
    for stream, values in enumerate(x.float().unbind(dim=1)):
        finite = values[values.isfinite()]
        mean, largest = (finite.mean(), finite.abs().max()) if len(finite) else (math.nan, math.nan)
        share = 1 - len(finite) / values.numel()
        lines.append(f"stream {stream}: mean {mean:.4g}, max |x| {largest:.4g}, not finite {share:.2%}")
    return tuple(lines)
