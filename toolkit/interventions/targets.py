"""Finds the words that ablation is measured on: texts that are cut before a word of a category."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from toolkit.devices import hold_on_cpu
from toolkit.harvest.tokens import TokenBatch
from toolkit.latents.categories import Category
from toolkit.leaving_out import TooFewError, measurable
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import next_log_probability
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.text.rows import by_length, padded

OTHER = "other words"


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """Texts that are cut before a word, and that word, the target; on the CPU, wherever they were."""

    prefixes: tuple[Int[Tensor, " _"], ...]
    target_ids: Int[Tensor, " target"]
    documents: Int[Tensor, " target"]
    """Number of the text that each target is from, in the order of reading."""
    found: int
    """Number of suitable positions, of which the targets were drawn."""

    def __post_init__(self) -> None:
        hold_on_cpu(self)

    def batches(self, batch_tokens: int) -> list[tuple[Int[Tensor, " _"], TokenBatch]]:
        """Return batches of prefixes of similar length, padded on the left, each with its targets' indices."""
        groups = by_length([len(prefix) for prefix in self.prefixes], batch_tokens, shortest_first=True)
        return [
            (torch.tensor(group), TokenBatch(*padded([self.prefixes[i] for i in group], left=True))) for group in groups
        ]


class _Found(NamedTuple):
    document: int
    text: Tensor
    position: int


class TargetSearch:
    """Collects every suitable position of each category, then draws targets from them."""

    def __init__(self, categories: Sequence[Category], undecided: tuple[float, float]) -> None:
        low, high = undecided
        if not 0 <= low < high <= 1:
            raise ValueError(f"undecided {low} {high}: give two rising probabilities, 0 1 for all occurrences")
        self.undecided = undecided
        self._categories = {category.name: category for category in categories}
        self._found: dict[str, list[_Found]] = {name: [] for name in [*self._categories, OTHER]}
        self._documents = 0

    def add(self, model: TracedModel, batch: TokenBatch, selected: Bool[Tensor, "row position"]) -> None:
        """Search one batch; a word counts where its token and the one before it are selected.

        The model must give the word a probability within `undecided`.
        """
        ids, selected = batch.input_ids, selected.cpu()
        may = selected[:, :-1] & selected[:, 1:]
        if self.undecided != (0.0, 1.0):
            found = measure(model, ids, batch.attention_mask, [None], next_log_probability, (ids,))
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
        """Draw `wanted` positions of each category and of other words, without replacement; all if there are fewer.

        Also returns why each category with fewer than two positions is left out, by name.
        """
        return measurable(self._found, lambda name: self._draw(name, wanted, generator))

    def _draw(self, name: str, wanted: int, generator: torch.Generator) -> Targets:
        if name in self._categories:
            self._categories[name].check_tokens()
        found = self._found[name]
        if len(found) < 2:
            raise TooFewError(
                f"{name}: {len(found)} positions where its words have a probability of {self.undecided[0]:g} to"
                f" {self.undecided[1]:g}, and at least two are needed: read more text, or widen undecided"
            )
        drawn = [found[i] for i in torch.randperm(len(found), generator=generator)[:wanted].tolist()]
        return Targets(
            prefixes=tuple(each.text[: each.position] for each in drawn),
            target_ids=torch.stack([each.text[each.position] for each in drawn]),
            documents=torch.tensor([each.document for each in drawn]),
            found=len(found),
        )
