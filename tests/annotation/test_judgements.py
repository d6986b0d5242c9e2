"""Scores of many latents beside their controls, from judgements made by hand."""

from toolkit.annotation.judgements import Comparison, Judgement, LatentScore


def score_of(right: int) -> LatentScore:
    """The score of a latent of whose twenty passages, half of which fire, so many are judged rightly."""
    truth = tuple(number % 2 == 0 for number in range(20))
    said = tuple(each if number < right else not each for number, each in enumerate(truth))
    own = Judgement(truth=truth, said=said, documents=tuple(range(20)))
    return LatentScore(own=own, random=None, shuffled=own.accuracy)


def test_the_interval_of_a_mean_balanced_accuracy_does_not_exceed_one() -> None:
    own = Comparison.of([*(score_of(20) for _ in range(15)), score_of(10)]).own
    assert 0.5 < own.low < own.value < own.high <= 1
