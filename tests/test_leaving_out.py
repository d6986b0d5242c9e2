import pytest

from toolkit.leaving_out import TooFewError, check_any, measurable


def at_least_two(name: str) -> int:
    if len(name) < 2:
        raise TooFewError(f"{name}: {len(name)} letters, and 2 are needed")
    return len(name)


def test_what_has_too_few_cases_is_left_out_with_the_reason() -> None:
    found, left_out = measurable(["abc", "d", "ef"], at_least_two)
    assert found == {"abc": 3, "ef": 2}
    assert left_out == {"d": "d: 1 letters, and 2 are needed"}
    check_any(found, left_out)


def test_other_errors_end_it() -> None:
    with pytest.raises(ZeroDivisionError):
        measurable(["a"], lambda _: 1 // 0)
    with pytest.raises(ValueError, match=r"^a setting$"):
        measurable(["a"], fail)


def fail(_: str) -> None:
    raise ValueError("a setting")


def test_nothing_left_is_an_error_with_all_reasons() -> None:
    with pytest.raises(TooFewError, match=r"^a: 1 letters, and 2 are needed; b: 1 letters, and 2 are needed$"):
        check_any(*measurable(["a", "b"], at_least_two))
