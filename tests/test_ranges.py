from dataclasses import dataclass, fields
from typing import Annotated, Any, get_args, get_type_hints

import pytest

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.experiments.sweep import SweptValues
from toolkit.models.where import Where
from toolkit.ranges import Count, Factor, Positive, Range, Share, check_ranges, range_of
from toolkit.settings.crosscoder_run import FeedSettings, MaskSettings, RunConfig, RunOutput, TextSettings

NOT_RANGED = {"layers"}  # checked where the models are known


@dataclass(frozen=True)
class Settings:
    batch_tokens: Count = 8
    rate: Positive | None = None
    shares: tuple[Share, ...] = ()
    factor: Factor = 2.0
    odd: Annotated[int, Range("odd", lambda number: number % 2 == 1)] = 1
    name: str = "none"


@pytest.mark.parametrize(
    "allowed", [{}, {"rate": 1e-300}, {"shares": (0, 0.5, 1.0)}, {"factor": float("inf")}, {"batch_tokens": 1}]
)
def test_numbers_within_their_ranges_pass(allowed: dict[str, object]) -> None:
    check_ranges(Settings(**allowed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ({"batch_tokens": 0}, "batch_tokens 0: must be at least 1"),
        ({"batch_tokens": 10**30}, "at most 2^53"),
        ({"batch_tokens": 8.0}, "batch_tokens 8.0: must be a whole number"),
        ({"rate": float("inf")}, "rate inf: must be above 0, and finite"),
        ({"rate": float("nan")}, "rate nan: must be above 0, and finite"),
        ({"rate": "1e-3"}, "rate '1e-3': must be a number"),
        ({"shares": (0.5, 1.5)}, "shares 1.5: must be from 0 to 1"),
        ({"factor": float("nan")}, "factor nan: must be above 1"),
        ({"odd": 2}, "odd 2: must be odd"),
    ],
)
def test_others_are_refused_by_name(refused: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as said:  # noqa: PT011
        check_ranges(Settings(**refused))  # type: ignore[arg-type]
    assert message in str(said.value)


@pytest.mark.parametrize(
    "config", [TrainingConfig, TextSettings, MaskSettings, FeedSettings, RunOutput, RunConfig, Where, SweptValues]
)
def test_every_number_of_a_training_run_declares_its_range(config: type) -> None:
    hints = get_type_hints(config, include_extras=True)
    ranged = {name for name, hint in hints.items() if range_of(hint)}
    numbers = {each.name for each in fields(config) if {int, float} & set(_plain_types(hints[each.name]))}
    assert numbers - ranged - NOT_RANGED == set()
    assert ranged


def _plain_types(hint: Any) -> list[Any]:
    return [hint, *(plain for inner in get_args(hint) for plain in _plain_types(inner))]
