"""What an annotator said of passages, beside the truth: balanced accuracy of one latent, and means over latents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

import torch

from toolkit.statistics.balanced_accuracy import balanced_accuracy
from toolkit.statistics.estimates import FEWEST_GROUPS, Estimate, mean


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What was said of one latent's passages by one explanation. Passages without a usable reply are no part of it."""

    truth: tuple[bool, ...]
    """Whether the latent fires in each passage that has a reply, or on its marked tokens."""
    said: tuple[bool, ...]
    """What the annotator said of it."""
    documents: tuple[int, ...]
    failures: Mapping[str, int] = field(default_factory=dict)
    """Passages that have no usable reply, by reason."""

    @property
    def n(self) -> int:
        """Passages with a reply."""
        return len(self.truth)

    @property
    def failed(self) -> int:
        """Passages without one."""
        return sum(self.failures.values())

    @cached_property
    def accuracy(self) -> Estimate:
        """Balanced accuracy with its interval over documents; not known where one of the two kinds has no reply."""
        return self._accuracy(self.truth)

    def shuffled(self, chance: Random) -> Estimate:
        """Balanced accuracy of the same replies beside the truth in another order: .5 but for chance."""
        return self._accuracy(chance.sample(self.truth, len(self.truth)))

    def _accuracy(self, truth: Sequence[bool]) -> Estimate:
        said, fires = (torch.tensor(each, dtype=torch.bool) for each in (self.said, truth))
        return balanced_accuracy(said, fires, torch.tensor(self.documents, dtype=torch.long))


@dataclass(frozen=True, kw_only=True)
class LatentScore:
    """One test of one latent: by its own explanation, and its controls."""

    own: Judgement
    random: Judgement | None
    """By another latent's explanation; None where no other latent has another explanation."""
    shuffled: Estimate
    """The replies of `own` beside shuffled truth."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Scores of one test over latents, beside both controls; intervals are over latents, given this text."""

    n: int
    """Latents with a score."""
    passages: int
    """Replies in all that are scored, of the own explanations."""
    failed: int
    """Passages without a usable reply, of the own explanations."""
    own: Estimate
    random: Estimate
    """By another latent's explanation."""
    shuffled: Estimate
    over_random: Estimate
    """Own less random, latent by latent."""
    over_shuffled: Estimate

    @classmethod
    def of(cls, scores: Sequence[LatentScore]) -> "Comparison":
        """Compare one test's scores of several latents."""
        known = [each for each in scores if each.own.n]
        own = torch.tensor([each.own.accuracy.value for each in known], dtype=torch.float64)
        random = own.new_tensor([each.random.accuracy.value if each.random else float("nan") for each in known])
        shuffled = own.new_tensor([each.shuffled.value for each in known])
        return cls(
            n=int((~own.isnan()).sum()),
            passages=sum(each.own.n for each in known),
            failed=sum(each.own.failed for each in scores),
            own=mean(own, unit="latent").within(0.0, 1.0),
            random=mean(random, unit="latent").within(0.0, 1.0),
            shuffled=mean(shuffled, unit="latent").within(0.0, 1.0),
            over_random=mean(own - random, unit="latent"),
            over_shuffled=mean(own - shuffled, unit="latent"),
        )

    @property
    def matched(self) -> tuple[str, ...]:
        """The controls that are not shown to score lower: with these, a score says nothing of its explanation."""
        over = {"another latent's explanation": self.over_random, "shuffled labels": self.over_shuffled}
        return tuple(name for name, difference in over.items() if not self._is_above(difference))

    def _is_above(self, difference: Estimate) -> bool:
        if difference.low is None:  # of too few latents, or the same for all of them
            return self.n >= FEWEST_GROUPS and difference.value > 0
        return difference.low > 0
