"""What is said of a batch that would put NaN or infinity into the weights."""

import math

from jaxtyping import Float
from torch import Tensor


class NonFiniteError(RuntimeError):
    """Raised instead of an update that would put NaN or infinity into the weights.

    `step` is the step that failed; `statistics` has one line per stream of the batch.
    """

    def __init__(self, step: int, statistics: tuple[str, ...]) -> None:
        self.step = step
        self.statistics = statistics
        lines = "\n  ".join(statistics)
        super().__init__(
            f"step {step} met NaN or infinity; the weights are as before it. The batch, raw, per stream:\n  {lines}"
        )


def describe(x: Float[Tensor, "token stream d_model"]) -> tuple[str, ...]:
    """Return one line per stream: mean, largest magnitude and share of values that are not finite."""
    lines = []
    for stream, values in enumerate(x.float().unbind(dim=1)):
        finite = values[values.isfinite()]
        mean, largest = (finite.mean(), finite.abs().max()) if len(finite) else (math.nan, math.nan)
        share = 1 - len(finite) / values.numel()
        lines.append(f"stream {stream}: mean {mean:.4g}, max |x| {largest:.4g}, not finite {share:.2%}")
    return tuple(lines)
