"""A user of a recipe sees the warnings of this project, and not those of libraries."""

import logging
import sys
import warnings
from collections.abc import Iterator

import pytest

from toolkit.library_warnings import LIBRARIES, ToolkitWarning, hide_library_warnings


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Filters and levels are put back."""
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    with warnings.catch_warnings():
        yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def shown() -> list[str]:
    """What is seen of four warnings and an advice that a library logs."""
    with warnings.catch_warnings(record=True) as seen:
        hide_library_warnings()
        warnings.warn("half of the rows fit", ToolkitWarning, stacklevel=1)
        warnings.warn("give cache= instead", FutureWarning, stacklevel=1)
        warnings.warn("nested tensors are a prototype", UserWarning, stacklevel=1)
        warnings.warn("use one_of", DeprecationWarning, stacklevel=1)
    advice = ["advice"] if logging.getLogger("transformers").isEnabledFor(logging.WARNING) else []
    return [str(each.message) for each in seen] + advice


def test_a_user_sees_what_the_user_can_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "warnoptions", [])
    assert shown() == ["half of the rows fit"]


def test_whoever_asks_for_warnings_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "warnoptions", ["default"])
    logging.getLogger("transformers").setLevel(logging.WARNING)
    warnings.simplefilter("default")
    assert len(shown()) == 5
