"""What people pass as numbers and types is taken as what it is, or refused in a line."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import torch

from toolkit.arguments import as_dtype, as_index, as_indices, as_number, as_numbers

WHOLE = [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3), torch.tensor(3, dtype=torch.int32)]
NOT_WHOLE = [
    3.0, np.float64(3), torch.tensor(3.0), True, np.bool_(True), torch.tensor(True), "3", None, torch.tensor([3])
]  # fmt: skip


@pytest.mark.parametrize("value", [*WHOLE, torch.ones(2, 4).sum(dim=0).argmax() + 3], ids=repr)
def test_a_whole_number_is_one_whatever_holds_it(value: object) -> None:
    found = as_index(value, "latent")
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", NOT_WHOLE, ids=repr)
def test_what_is_no_whole_number_is_named(value: object) -> None:
    shown = re.escape(repr(value.tolist() if hasattr(value, "tolist") else value))
    with pytest.raises(ValueError, match=f"^latent {shown} is not a whole number: give an int$"):
        as_index(value, "latent")


@pytest.mark.parametrize(
    "values",
    [
        [0, 2], (0, 2), range(0, 4, 2), np.array([0, 2]), torch.tensor([0, 2]), pd.Series([0, 2]),
        [torch.tensor(0), np.int32(2)], (i for i in (0, 2)), {0: "a", 2: "b"}.keys(),
    ],
    ids=lambda values: type(values).__name__,
)  # fmt: skip
def test_several_whole_numbers_come_in_any_sequence(values: object) -> None:
    assert as_indices(values, "layer") == (0, 2)


def test_one_stands_for_a_sequence_of_one() -> None:
    assert [as_indices(value, "layer") for value in WHOLE] == [(3,)] * len(WHOLE)
    assert as_indices(0, "layer") == (0,)
    assert as_indices([], "layer") == ()


@pytest.mark.parametrize("values", ["10", b"10", None, {0: 1}, [0, 1.0], [True], [[0]], torch.tensor([True, False])])
def test_among_several_the_one_that_is_no_whole_number_is_named(values: object) -> None:
    with pytest.raises(ValueError, match=r"^layer .* is not a whole number"):
        as_indices(values, "layer")


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ValueError, match=r"^latent .{60} is not a whole number"):
        as_index("x" * 1000, "latent")


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5, dtype=torch.bfloat16)])
def test_a_number_is_a_float_whatever_holds_it(value: object) -> None:
    found = as_number(value, "strength")
    assert found == 0.5
    assert type(found) is float


def test_several_numbers_come_in_any_sequence() -> None:
    for values in ([0.5, 1], np.array([0.5, 1.0]), torch.tensor([0.5, 1.0]), (each for each in (0.5, 1.0))):
        assert as_numbers(values, "scale") == (0.5, 1.0)
    assert as_numbers(0, "scale") == (0.0,)


@pytest.mark.parametrize("value", ["0.5", None, True, 1j, torch.tensor([0.5])])
def test_what_is_no_number_is_named(value: object) -> None:
    with pytest.raises(ValueError, match=r"^strength .* is not a number: give a float$"):
        as_number(value, "strength")


def test_types_have_long_and_short_names() -> None:
    names: Mapping[torch.dtype, list[object]] = {
        torch.bfloat16: [torch.bfloat16, "bfloat16", "torch.bfloat16", "bf16"],
        torch.float16: ["half", "fp16", "float16"],
        torch.float32: ["float", "fp32", torch.float],
    }
    assert {dtype: [as_dtype(value) for value in values] for dtype, values in names.items()} == {
        dtype: [dtype] * len(values) for dtype, values in names.items()
    }


@pytest.mark.parametrize("value", [torch.int8, "int8", "bf17", None, 16, "load"])
def test_what_is_no_floating_point_type_is_named(value: object) -> None:
    with pytest.raises(ValueError, match=r"^dtype .* is no floating-point type: give float32, bfloat16 or float16$"):
        as_dtype(value)
