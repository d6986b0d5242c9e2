"""Which latents' scores lie beyond those of random directions, and which other latents control them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from toolkit.adapters.modes import Latent
from toolkit.latents.selection import Likeness, random_latents
from toolkit.leaving_out import TooFewError

Rows = Float[Tensor, "latent d_model"]

RANDOM_DIRECTIONS, OTHER_ROWS = "random directions", "other latents' rows"
"""What stands in the place of a latent's decoder row in the two nulls."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """Latents whose scores exceed a quantile of every null."""

    scores: Float[Tensor, "layer latent"]
    thresholds: Mapping[str, float]
    """The quantile of each null, by name."""
    n_eligible: int
    """Latents that could have been chosen."""
    expected_false: float
    """How many of these would be chosen by chance alone."""
    latents: tuple[Latent, ...]
    """The highest score first."""

    @property
    def threshold(self) -> float:
        """What a score must exceed."""
        return max(0.0, *self.thresholds.values())


def beyond_null(
    scores: Float[Tensor, "layer latent"],
    nulls: Mapping[str, Float[Tensor, " _"]],
    eligible: Bool[Tensor, "layer latent"],
    quantile: float,
) -> Chosen:
    """Choose the eligible latents whose scores exceed this quantile of each null, and 0."""
    thresholds = {name: _quantile(null, quantile) for name, null in nulls.items()}
    beyond = (eligible & (scores > max(0.0, *thresholds.values()))).nonzero()
    falling = scores[tuple(beyond.t())].argsort(descending=True, stable=True)
    return Chosen(
        scores=scores,
        thresholds=thresholds,
        n_eligible=int(eligible.sum()),
        expected_false=int(eligible.sum()) * (1 - quantile),
        latents=tuple((layer, latent) for layer, latent in beyond[falling].tolist()),
    )


def _quantile(values: Float[Tensor, " _"], share: float) -> float:
    """As `Tensor.quantile`, of any number of values, the lower of two neighbours; 0 of none."""
    if not len(values):
        return 0.0
    return float(values.kthvalue(1 + int(share * (len(values) - 1))).values)


def attributions(pulls: Sequence[Rows], rows: Sequence[Rows]) -> Float[Tensor, "layer latent"]:
    """Return what each latent adds to the target: its pull times its decoder row."""
    return torch.stack([(pull * row).sum(dim=1) for pull, row in zip(pulls, rows, strict=True)])


def null_attributions(
    pulls: Sequence[Rows],
    rows: Sequence[Rows],
    eligible: Bool[Tensor, "layer latent"],
    alive: Bool[Tensor, "layer latent"],
    *,
    draws: int,
    generator: torch.Generator,
) -> dict[str, Float[Tensor, " _"]]:
    """Return what the eligible latents would add with something else, as long, in their rows' places, by null.

    That is a random direction, and the row of a random latent of the same layer that fires, anew in each draw.
    """
    found: dict[str, list[Tensor]] = {RANDOM_DIRECTIONS: [], OTHER_ROWS: []}
    for pull, row, own, firing in zip(pulls, rows, eligible, alive, strict=True):
        pull, lengths, others = pull[own], row[own].norm(dim=1), normalize(row[firing], dim=1)
        for _ in range(draws if len(pull) else 0):
            directions = normalize(torch.randn(pull.shape, generator=generator), dim=1)
            drawn = torch.randint(len(others), (len(pull),), generator=generator)
            for name, instead in ((RANDOM_DIRECTIONS, directions), (OTHER_ROWS, others[drawn])):
                found[name].append((pull * instead).sum(dim=1) * lengths)
    return {name: torch.cat(parts) if parts else torch.empty(0) for name, parts in found.items()}


def random_arm(
    chosen: Sequence[Latent], alive: Bool[Tensor, "layer latent"], generator: torch.Generator
) -> tuple[Latent, ...]:
    """Return as many other latents that fire, drawn from all layers."""
    n_latents = alive.shape[1]
    numbers = torch.tensor([layer * n_latents + latent for layer, latent in chosen], dtype=torch.long)
    drawn = random_latents(numbers, alive.flatten(), generator)
    return tuple(divmod(number, n_latents) for number in drawn.tolist())


def matched_arm(
    chosen: Sequence[Latent],
    added: Float[Tensor, "layer latent"],
    alive: Bool[Tensor, "layer latent"],
    generator: torch.Generator,
) -> tuple[Latent, ...]:
    """Return for each latent another one of its layer that adds about as much to the stream, on average over tokens.

    It is one of the three nearest by `added`, firing rate × mean activation × length of the decoder row. Raises
    `TooFewError` where a layer has too few others.
    """
    found: list[Latent] = []
    for layer in sorted({layer for layer, _ in chosen}):
        own = torch.tensor([latent for at, latent in chosen if at == layer])
        likeness = Likeness(mean_code=added[layer], nrn=torch.zeros_like(added[layer]))
        try:
            drawn = likeness.matched(own, alive[layer], generator)
        except TooFewError as error:
            raise TooFewError(f"layer {layer}: {error}") from error
        found += [(layer, latent) for latent in drawn.tolist()]
    return tuple(found)
