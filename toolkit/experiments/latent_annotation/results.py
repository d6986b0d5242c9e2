"""What was found of latents that were to be annotated."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from toolkit.annotation.enrichment import Enrichment
from toolkit.annotation.evidence import Name
from toolkit.annotation.gathering import Gathered
from toolkit.annotation.label_files import LabelFile
from toolkit.annotation.labels import Category, Label
from toolkit.annotation.scoring import Scores
from toolkit.annotation.server_costs import Usage
from toolkit.annotation.trials import Test
from toolkit.experiments.latent_annotation.choosing import Chosen
from toolkit.experiments.latent_annotation.dictionaries import Dictionary
from toolkit.experiments.latent_annotation.planted import Behaviour


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotated:
    """Labels of latents by their names, their scores, and what is set beside them."""

    annotator: str
    dictionary: Dictionary
    chosen: Chosen
    """Latents that were asked for; those that stand for labelled behaviours alone are labelled too."""
    gathered: Gathered
    labels: Mapping[Name, Label]
    scores: Scores
    behaviours: Sequence[Behaviour]
    """Labelled behaviours, each with its best latent; none where latents were named, or nothing is labelled."""
    blind: Mapping[Name, Category]
    """Categories that were given without a look at labelled spans."""
    compared: Sequence[LabelFile]
    """What other annotators said."""
    usage: Usage | None
    """What a server was asked."""

    def __repr__(self) -> str:
        """A line for each latent: its category, its scores and its explanation, or why it is unscored."""
        labelled = (
            f"latent {name}  {label.category}  {self._scores(name)}{label.explanation}"
            for name, label in self.labels.items()
        )
        return "\n".join([*labelled, *(f"latent {name}  unscored: {why}" for name, why in self.unscored.items())])

    def _scores(self, name: Name) -> str:
        scores = self.scores.latents.get(name, {})
        return "".join(f"{test} {each.own.accuracy.value:.2f}  " for test, each in scores.items())

    @property
    def unscored(self) -> dict[Name, str]:
        """Why a latent has no label, or no score."""
        return {**self.gathered.unscored, **self.scores.unscored}

    @cached_property
    def thirds(self) -> dict[Name, str]:
        """Thirds of the NRN scale; none without an NRN."""
        return {self.dictionary.name(number): third for number, third in self.chosen.thirds.items()}

    @cached_property
    def enrichment(self) -> Enrichment:
        """Labels of the latents that were asked for, by third of the NRN scale."""
        return self._enrichment({name: label.category for name, label in self.labels.items()})

    @cached_property
    def blind_enrichment(self) -> Enrichment:
        """The same, of categories that were given without a look at labelled spans."""
        return self._enrichment(self.blind)

    def _enrichment(self, categories: Mapping[Name, Category]) -> Enrichment:
        asked = set(map(self.dictionary.name, self.chosen.numbers))
        return Enrichment.of({name: given for name, given in categories.items() if name in asked}, self.thirds)

    def failures(self, test: Test) -> Counter[str]:
        """How many passages of a test have no usable reply to the latents' own explanations, by reason."""
        return sum((Counter(each[test].own.failures) for each in self.scores.latents.values()), Counter())

    def named_right(self, *, blind: bool) -> tuple[int, float]:
        """How many behaviours' best latents have their behaviour's category, and how many would by chance: if theirs
        were drawn from the categories of the other latents. `blind` is without a look at labelled spans.
        """
        categories = self.blind if blind else {name: label.category for name, label in self.labels.items()}
        best = {each.latent for each in self.behaviours}
        others = [category for name, category in categories.items() if name not in best]
        right = sum(categories.get(each.latent) == each.category for each in self.behaviours)
        return right, sum(others.count(each.category) for each in self.behaviours) / max(1, len(others))
