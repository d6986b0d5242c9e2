"""Claims on answers made by hand: each can hold, and each can fail."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from toolkit.answers.answer_tables import Answers
from toolkit.answers.questions import Question
from toolkit.experiments.hesitation.choosing import HesitationLatents
from toolkit.experiments.hesitation.claims import claims, cut
from toolkit.experiments.hesitation.interventions import Intervened
from toolkit.experiments.hesitation.measure import Measured
from toolkit.experiments.hesitation.study import Chosen
from toolkit.latents.categories import Category
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.verdicts import judge

N = 96
SPREAD = torch.linspace(0.8, 1.2, N, dtype=torch.float64)
NEEDED, HARMLESS, ENOUGH, SHORTER = range(4)


def answers(hesitation: float, length: float = 100.0, correct: float = 0.8, draws: int = 1) -> Answers:
    """Answers of these means, a little different for each question."""
    right = (torch.arange(N) < correct * N).double() if not math.isnan(correct) else torch.full((N,), math.nan).double()
    rows = {"length": length * SPREAD, "hesitation": hesitation * SPREAD, "correct": right}
    tables = {name: row.expand(draws, N).clone() for name, row in rows.items()}
    finished = torch.ones(draws, N, dtype=torch.float64)
    log_length = tables["length"].log()
    return Answers(texts=[["…"] * N] * draws, finished=finished, log_length=log_length, **tables)


GOOD: Mapping[str, Intervened] = {
    "off": Intervened(
        unchanged=answers(5.0),
        arms={"both": answers(1.0), "random": answers(4.9, draws=3), "matched": answers(4.5, draws=3)},
    ),
    "added": Intervened(
        unchanged=answers(0.0),
        arms={"both": answers(4.0), "random": answers(0.1, draws=3), "matched": answers(0.2, draws=3)},
    ),
    "transfer": Intervened(
        unchanged=answers(5.0),
        arms={
            "both": answers(2.0, 70.0),
            "random": answers(5.0, 99.0, draws=3),
            "matched": answers(5.0, 95.0, draws=3),
        },
    ),
}


def latents(share: float) -> HesitationLatents:
    """Output latents that are this share of a hundred."""
    zeros = torch.zeros(1, 100)
    chosen = Chosen(scores=zeros, thresholds={}, n_eligible=100, expected_false=1.0, latents=())
    return HesitationLatents(
        output=replace(chosen, latents=tuple((0, latent) for latent in range(round(share * 100)))),
        template=chosen,
        attribution=zeros,
        alive=zeros == 0,
        rate=zeros,
        at_words=zeros,
        added=zeros,
        tokens=1,
        words=1,
        formatting=1,
    )


def shown(share: float = 0.02, **changed: Intervened) -> list[bool]:
    """Whether each claim shows."""
    found = Measured(
        hesitation=Category(name="self-reflection", words=("Wait",), tokens=("Wait",), token_ids=(1,)),
        latents=latents(share),
        arms={"both": ()},
        left_out={"random": "too few", "matched": "too few"},
        questions=(Question(question="?", answer=None),) * N,
        interventions={**GOOD, **changed},
        promoted={},
        on_text=None,
        planted=None,
    )
    return [verdict.shows for verdict in judge(claims(found))]


def with_arms(name: str, **arms: Answers) -> dict[str, Intervened]:
    """An intervention with some arms changed."""
    return {name: replace(GOOD[name], arms={**GOOD[name].arms, **arms})}


def test_all_claims_show_where_hesitation_latents_do_all_that_is_claimed() -> None:
    assert shown() == [True] * 4


@pytest.mark.parametrize(
    "off",
    [
        with_arms("off", both=answers(2.2)),  # a cut of 56 %
        with_arms("off", random=answers(2.0, draws=3)),  # controls cut nearly as much
        with_arms("off", matched=answers(2.0, draws=3)),
    ],
)
def test_the_cut_must_be_large_and_beyond_both_controls(off: dict[str, Intervened]) -> None:
    assert shown(**off) == [False, True, True, True]


def test_the_latents_must_be_few_and_every_control_measured() -> None:
    assert shown(share=0.06) == [False, True, True, True]
    alone = replace(GOOD["off"], arms={name: each for name, each in GOOD["off"].arms.items() if name != "matched"})
    assert shown(off=alone) == [False, True, True, True]


def test_more_errors_are_seen_and_a_small_loss_must_be_ruled_out() -> None:
    assert shown(**with_arms("off", both=answers(1.0, correct=0.7)))[HARMLESS] is False
    small = with_arms("off", both=answers(1.0, correct=0.77))  # three of 96: a loss of .05 is not ruled out
    assert shown(**small)[HARMLESS] is False


def test_adding_and_transferring_must_beat_no_latents_and_controls() -> None:
    assert shown(**with_arms("added", both=answers(0.15)))[ENOUGH] is False
    assert shown(**with_arms("transfer", both=answers(2.0, 110.0)))[SHORTER] is False
    assert shown(**with_arms("transfer", matched=answers(5.0, 60.0, draws=3)))[SHORTER] is False


def test_where_right_answers_are_not_known_nothing_is_claimed_of_errors() -> None:
    off = Intervened(
        unchanged=answers(5.0, correct=math.nan),
        arms={name: replace(each, correct=each.correct * math.nan) for name, each in GOOD["off"].arms.items()},
    )
    assert shown(off=off) == [True] * 3


def test_a_cut_is_a_share_of_the_adapters_mean_and_unknown_where_it_never_hesitates() -> None:
    assert cut(GOOD["off"], "both").value == pytest.approx(0.8)
    never: Estimate = cut(replace(GOOD["off"], unchanged=answers(0.0)), "both")
    assert math.isnan(never.value)
