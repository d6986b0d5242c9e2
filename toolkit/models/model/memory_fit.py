"""Forward passes that fit in memory: after an out-of-memory error a pass has half as many rows."""

import warnings
from collections.abc import Callable
from typing import TypeVar

from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor

from toolkit.library_warnings import ToolkitWarning

T = TypeVar("T")


class RowLimit:
    """Splits a batch by rows, which are independent, once memory has run out, and remembers the size that fits."""

    def __init__(self) -> None:
        self.tokens: int | None = None
        """Tokens of the largest pass that may be tried, padding included; None before memory ran out."""

    def run(self, read: Callable[..., T], *inputs: Tensor) -> list[T]:
        """Call `read` with all rows of the inputs, or with some of them at a time; return one result for each pass.

        Warns of each new limit. Raises `ValueError` where one row alone does not fit.
        """
        rows, length = inputs[0].shape
        results: list[T] = []
        done = 0
        while done < rows:
            count = rows - done if self.tokens is None else min(rows - done, max(1, self.tokens // length))
            try:
                results.append(read(*(each[done : done + count] for each in inputs)))
                done += count
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                if count == 1:
                    raise ValueError(
                        f"out of memory for one row of {length} tokens: lower --row-length, or let fewer weights stay"
                        f" with --max-memory or --sequential ({error})"
                    ) from error
                self._halve(count, length)
        return results

    def _halve(self, rows: int, length: int) -> None:
        clear_device_cache(garbage_collection=True)
        self.tokens = rows // 2 * length
        warnings.warn(
            f"out of memory in a forward pass of {rows} rows of {length} tokens ({rows * length:,}): from now on a pass"
            f" has at most {rows // 2} such rows ({self.tokens:,} tokens); nothing else changes",
            ToolkitWarning,
            stacklevel=3,
        )
