"""One value says where models run, and says it of each model."""

import subprocess
import sys
from typing import Any

import pytest

from toolkit.fields import of_result
from toolkit.models.where import Where, as_where


def test_nothing_heavy_is_imported_to_say_where() -> None:
    heavy = "torch numpy transformers nnsight accelerate datasets matplotlib sklearn".split()
    code = f"import sys, toolkit.models.where; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ("cpu", Where(device_map="cpu")),
        ("cuda:1", Where(device_map="cuda:1")),
        (1, Where(device_map=1)),
        ("ndif", Where(remote=True)),
        (Where(dtype="bf16"), Where(dtype="bf16")),
    ],
)
def test_a_device_or_ndif_may_be_given_by_its_name(where: Any, meant: Where) -> None:
    assert as_where(where) == meant


def test_each_model_has_its_device() -> None:
    where = Where(device_map="cpu", base_device=0, max_memory="2GB")
    assert where.of("base") == Where(device_map=0, max_memory="2GB")
    assert where.of("distilled") == where.of("control") == Where(device_map="cpu", max_memory="2GB")
    by_name = as_where({"base": "cuda:0", "control": "cuda:1"})
    assert [by_name.of(name).device_map for name in ("base", "control", "distilled")] == ["cuda:0", "cuda:1", "auto"]


def test_only_what_decides_the_numbers_is_of_the_result() -> None:
    assert of_result(Where(device_map="cpu", jobs=7, sequential=True)) == {"dtype": "auto"}
    assert of_result(Where(remote=True)) == {"dtype": "auto", "wire": "bf16"}
    assert of_result(Where(attn_implementation="eager")) == {"dtype": "auto", "attn_implementation": "eager"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"jobs": 0}, "jobs 0: must be at least 1"),
        ({"deadline": 0.0}, "deadline 0.0: must be above 0"),
        ({"deadline": float("nan")}, "deadline nan: must be above 0"),
        ({"attempts": 0}, "attempts 0: must be at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Where(**settings)


def test_a_device_that_is_number_0_is_a_device_too() -> None:
    with pytest.raises(ValueError, match="base_device: about models on this machine, unused by those on NDIF"):
        Where(remote=True, base_device=0).check_used()


def test_it_says_what_was_given() -> None:
    assert repr(Where(dtype="bf16", remote=True)) == "Where(dtype='bf16', remote=True)"
