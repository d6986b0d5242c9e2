"""The error of a batch that would put NaN or infinity into the weights. It imports nothing heavy."""


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
