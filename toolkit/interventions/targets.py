"""Positions whose next token is a category's word: what an ablation is measured on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from toolkit.harvest.tokens import TokenBatch
from toolkit.latents.categories import Category
from toolkit.leaving_out import TooFewError, measurable
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import next_log_probability
from toolkit.models.pair import ModelPair
from toolkit.models.text.rows import by_length, padded

OTHER = "other words"


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """Texts cut before a word that comes next, and that word."""

    prefixes: tuple[Int[Tensor, " _"], ...]
    target_ids: Int[Tensor, " target"]
    documents: Int[Tensor, " target"]
    """Number of the text that each target is from, in the order they were read."""
    found: int
    """Suitable positions, of which these were drawn."""

    def batches(self, batch_tokens: int) -> list[tuple[Int[Tensor, " _"], TokenBatch]]:
        """Prefixes of similar length together, padded on the left, with their places among the targets."""
        groups = by_length([len(prefix) for prefix in self.prefixes], batch_tokens, shortest_first=True)
        return [
            (torch.tensor(group), TokenBatch(*padded([self.prefixes[i] for i in group], left=True))) for group in groups
        ]


class _Found(NamedTuple):
    document: int
    text: Tensor
    position: int


class TargetSearch:
    """Collects every suitable position, by category, then draws."""

    def __init__(self, categories: Sequence[Category], undecided: tuple[float, float]) -> None:
        low, high = undecided
        if not 0 <= low < high <= 1:
            raise ValueError(f"--undecided {low} {high}: give two rising probabilities, 0 1 for all occurrences")
        self.undecided = undecided
        self._categories = {category.name: category for category in categories}
        self._found: dict[str, list[_Found]] = {name: [] for name in [*self._categories, OTHER]}
        self._documents = 0

    def add(self, pair: ModelPair, batch: TokenBatch, selected: Bool[Tensor, "row position"]) -> None:
        """Look through one batch; a word counts where its token and the one before it are selected.

        The distilled model must give the word a probability within `undecided`.
        """
        ids = batch.input_ids
        may = selected[:, :-1] & selected[:, 1:]
        if self.undecided != (0.0, 1.0):
            found = measure(pair.distilled, ids, batch.attention_mask, [None], next_log_probability, (ids,))
            probability = found[0].exp()
            may = may & (probability >= self.undecided[0]) & (probability <= self.undecided[1])
        anywhere = torch.zeros_like(may)
        for name, category in self._categories.items():
            of_category = torch.isin(ids[:, 1:], torch.tensor(category.token_ids, dtype=torch.long))
            anywhere |= of_category
            self._keep(name, ids, may & of_category)
        self._keep(OTHER, ids, may & ~anywhere)
        self._documents += len(ids)

    def _keep(self, name: str, ids: Tensor, where: Tensor) -> None:
        self._found[name] += [
            _Found(self._documents + row, ids[row], position + 1) for row, position in where.nonzero().tolist()
        ]

    def draw(self, wanted: int, generator: torch.Generator) -> tuple[dict[str, Targets], dict[str, str]]:
        """Draw `wanted` positions of each category and of other words without replacement; all, where fewer were found.

        Also returns, by name, why a category with fewer than two is left out.
        """
        return measurable(self._found, lambda name: self._draw(name, wanted, generator))

    def _draw(self, name: str, wanted: int, generator: torch.Generator) -> Targets:
        if name in self._categories:
            self._categories[name].check_tokens()
        found = self._found[name]
        if len(found) < 2:
            raise TooFewError(
                f"{name}: {len(found)} positions where its words have a probability of {self.undecided[0]:g} to"
                f" {self.undecided[1]:g}, and at least two are needed: raise --tokens or widen --undecided"
            )
        drawn = [found[i] for i in torch.randperm(len(found), generator=generator)[:wanted].tolist()]
        return Targets(
            prefixes=tuple(each.text[: each.position] for each in drawn),
            target_ids=torch.stack([each.text[each.position] for each in drawn]),
            documents=torch.tensor([each.document for each in drawn]),
            found=len(found),
        )
