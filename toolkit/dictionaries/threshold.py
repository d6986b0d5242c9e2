"""BatchTopK's inference threshold: the mean of the cuts of training batches, right for the weights as they are."""

from collections.abc import Callable

import torch
from torch import Tensor

from toolkit.dictionaries import schedules
from toolkit.dictionaries.configs import TrainingConfig


class Threshold:
    """Follows the smallest score that each batch keeps; once k is reached, averages it.

    A long run takes the running mean that it was asked for. One too short for that takes the plain mean over its last
    steps, and moves it with each update of the weights by the ratio of the same batch's cuts after and before.
    """

    def __init__(self, state: dict[str, Tensor]) -> None:
        self._mean, self.last_cut = state["threshold"].item(), state["last_cut"].item()
        self._averaged = int(state["averaged_steps"])

    @property
    def value(self) -> float:
        """The mean; until k is reached there is none, and the last batch's cut is the best guess."""
        return self._mean if self._averaged else self.last_cut

    def follow(self, cut: float, training: TrainingConfig, step: int, cut_after: Callable[[], float]) -> None:
        """Take in the cut of `step` (from 0); `cut_after` computes that of the same batch after the update."""
        self.last_cut = cut
        if step < schedules.annealing_steps(training):
            return
        before = schedules.averaged_steps(training, step, self._averaged)
        decay = training.threshold_decay if before is None else before / (before + 1)
        if not self._averaged:
            decay = 0.0
        self._mean = decay * self._mean + (1 - decay) * cut
        if before is not None and cut > 0:
            self._mean *= cut_after() / cut
        self._averaged += 1

    def state_dict(self) -> dict[str, Tensor]:
        """What goes on from here, as scalars."""
        return {
            "threshold": torch.tensor(self._mean, dtype=torch.float64),
            "averaged_steps": torch.tensor(self._averaged),
            "last_cut": torch.tensor(self.last_cut, dtype=torch.float64),
        }
