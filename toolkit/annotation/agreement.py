"""How far two annotators give latents the same categories, beyond what chance would give."""

from collections.abc import Sequence
from math import isnan, nan

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.annotation.labels import CATEGORIES, Category
from toolkit.statistics.estimates import ROUNDING, Estimate, given_one, jackknife


def kappa(first: Sequence[Category], second: Sequence[Category]) -> Estimate:
    """Return Cohen's κ of two annotators' categories of the same latents, with its 95 % interval over latents.

    1 is full agreement, 0 what two annotators reach who give each category as often and know nothing. It is not known
    where both give one category alone. Fewer than 8 latents, and latents of which each could be left out without
    a change, have no interval; `note` says why. Source: Cohen 1960; each latent is left out in turn.
    """
    if not first:
        return Estimate(nan, note="no latent was labelled by both")
    table = torch.zeros(len(CATEGORIES), len(CATEGORIES), dtype=torch.float64)
    places = [(CATEGORIES.index(a), CATEGORIES.index(b)) for a, b in zip(first, second, strict=True)]
    for place in places:
        table[place] += 1
    value = _kappa(table)
    without = []
    for place in places:
        table[place] -= 1
        without.append(_kappa(table))
        table[place] += 1
    if isnan(value):
        return Estimate(value, note="both give one category alone: agreement by chance is certain")
    if isnan(sum(without)):
        return Estimate(value, note="but for one latent both give one category alone")
    found = jackknife(value, torch.tensor(without, dtype=torch.float64), unit="latent")
    if found.error is not None and found.error < ROUNDING:
        return Estimate(value, note="no latent changes it when left out: an interval needs some that do")
    return given_one(found).within(-1.0, 1.0)


def _kappa(table: Float[Tensor, "category category"]) -> float:
    n = float(table.sum())
    if n == 0:  # the only latent is left out
        return nan
    by_chance = float(table.sum(dim=0) @ table.sum(dim=1)) / n**2
    return (float(table.trace()) / n - by_chance) / (1 - by_chance) if by_chance < 1 else nan
