"""What was predicted and measured of the latents that lead to a category's words, with every crosscoder."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.experiments.attribution.study import Agreement, agreement
from toolkit.statistics.estimates import GIVEN_ONE, Estimate, over_seeds

CONTROLS = ("random latents", "random directions")
METHODS = ("gradient × code", "along the path")


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentPaths:
    """One crosscoder: the latents that lead to the words, and what gradients and ablation say of them.

    Latents were chosen on other documents than those of the targets here.
    """

    latents: list[int]
    """The chosen ones, of the largest effect first, then as many random ones that fire before such words."""
    chosen: int
    """How many of them were chosen."""
    nrn: Float[Tensor, " latent"]
    fires: Float[Tensor, " latent"]
    """Share of the targets before which each fires."""
    predicted: dict[str, Float[Tensor, "latent target"]]
    """Effect on each target's logit, by method."""
    measured: Float[Tensor, "latent target"]
    """How far the logit falls without the latent."""
    together: Float[Tensor, " target"]
    """The same without all chosen latents."""
    controls: dict[str, Float[Tensor, "draw target"]]
    """The same without as many random latents, and without random vectors as long as what the chosen ones add."""

    def best(self, control: str) -> Float[Tensor, " target"]:
        """The falls in the draw whose mean is the largest."""
        draws = self.controls[control]
        return draws[draws.mean(dim=1).argmax()]


@dataclass(frozen=True, kw_only=True, eq=False)
class PathStudy:
    """All crosscoders on the same words. Estimates are means over crosscoders and words."""

    category: str
    model: str
    """The model whose words are followed."""
    documents: Int[Tensor, " target"]
    """Number of the document of each target that tests."""
    found: int
    """Suitable positions, of which the targets were drawn."""
    seeds: dict[int, LatentPaths]
    """By the crosscoder's seed, the run's own first."""

    @property
    def own(self) -> LatentPaths:
        """What the run's own crosscoder gives."""
        return next(iter(self.seeds.values()))

    def estimate(self, of_one: Callable[[LatentPaths], Float[Tensor, " target"]]) -> Estimate:
        """The mean over crosscoders and targets of what `of_one` takes of each crosscoder."""
        found = over_seeds(torch.stack([of_one(each) for each in self.seeds.values()]), self.documents)
        return replace(found, note=GIVEN_ONE) if len(self.seeds) == 1 and found.low is not None else found

    def agreement(self, method: str, *, shuffled: bool = False) -> Agreement:
        """How well a method's predictions, for latents one by one, agree with what ablation measures.

        Latents of all crosscoders count together. `shuffled` is the control: each gets another latent's prediction.
        """
        predicted = torch.cat(
            [each.predicted[method].roll(int(shuffled), dims=0) for each in self.seeds.values()], dim=0
        )
        measured = torch.cat([each.measured for each in self.seeds.values()], dim=0)
        groups = self.documents.expand(len(measured), -1)
        return agreement(predicted.flatten(), measured.flatten(), groups.flatten(), unit="document")
