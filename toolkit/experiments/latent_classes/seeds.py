"""The classes of latents of every seed's crosscoder, for the run's pair and for the null pair, on the same text."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.latent_scaling import NU_ERROR, NU_RECONSTRUCTION, LatentScaling, ScalingRatios
from toolkit.experiments.run import Run
from toolkit.latents.classification import LatentClasses, Tag, classify_fired
from toolkit.latents.coded_batches import CodedBatch
from toolkit.latents.firing import FiringCounts

RULE = f"ν^ε < {NU_ERROR} and ν^r < {NU_RECONSTRUCTION}"


@dataclass(frozen=True, kw_only=True)
class SeedClasses:
    """The latents of one crosscoder; they are counted by NRN in units of training, where any two pairs compare."""

    classes: LatentClasses
    scaling: ScalingRatios

    @property
    def lean(self) -> float:
        """Mean NRN in units of training, less its neutral point: above 0 toward the last model."""
        return self.classes.mean_nrn_training_units.value - 0.5

    def count(self, tag: Tag) -> int:
        """How many latents have a tag."""
        return int(self._tagged(tag).sum())

    def survivors(self, tag: Tag) -> int:
        """How many latents with a tag survive latent scaling."""
        return int((self._tagged(tag) & self.scaling.survives).sum())

    def _tagged(self, tag: Tag) -> Bool[Tensor, " latent"]:
        return torch.tensor([each == tag for each in self.classes.training_units_tags()])


Measure = Callable[[SeedClasses], float]


@dataclass(frozen=True, kw_only=True)
class BothPairs:
    """Each crosscoder of the run, by seed, its own first, and each of the null run; none where no null run is named."""

    seeds: dict[int, SeedClasses]
    null: dict[int, SeedClasses]

    @property
    def own(self) -> SeedClasses:
        """The latents of the run's own crosscoder."""
        return next(iter(self.seeds.values()))

    @property
    def models(self) -> tuple[str, str]:
        """Names of the two models that are compared."""
        return self.own.classes.models

    def numbers(self, number: Measure) -> tuple[list[float], list[float]]:
        """One number of each crosscoder, of the run's and of the null run's."""
        own, null = ([float(number(each)) for each in pair.values()] for pair in (self.seeds, self.null))
        return own, null


class _Sums:
    """What classifies the latents of one crosscoder, summed over batches."""

    def __init__(self, crosscoder: Crosscoder) -> None:
        self.crosscoder = crosscoder
        self.scaling = LatentScaling(crosscoder)
        self.firing = FiringCounts((), crosscoder.config.n_latents)

    def add(self, coded: CodedBatch, codes: Tensor) -> None:
        self.scaling.add(coded.activations, codes)
        self.firing.add(coded.batch.input_ids, coded.selected, codes)

    def found(self, seed: int) -> SeedClasses:
        chance = torch.Generator().manual_seed(seed)
        classes = classify_fired(self.crosscoder, self.firing.fired, self.firing.mass, chance)
        return SeedClasses(classes=classes, scaling=self.scaling.ratios())


@torch.no_grad()
def classes_by_seed(
    run: Run, tokens: int, *, draws: int, watch: Callable[[CodedBatch], None] = lambda coded: None
) -> dict[int, SeedClasses]:
    """Read a run's text once, and classify the latents of each of its crosscoders, by seed, the run's own first.

    `draws` is the seed of random draws; `watch` is given each batch with the codes of the run's own crosscoder. Raises
    `ValueError` where fewer than two latents of a crosscoder fired.
    """
    run.load()
    sums = {seed: _Sums(crosscoder) for seed, crosscoder in run.crosscoders.items()}
    for coded in run.coded(tokens):
        watch(coded)
        for each in sums.values():
            own = each.crosscoder is run.crosscoder
            each.add(coded, coded.codes if own else each.crosscoder.encode(coded.activations))
    return {seed: each.found(draws) for seed, each in sums.items()}
