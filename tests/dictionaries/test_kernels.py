import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from toolkit.dictionaries.kernels import difference, failure, launch


class Kernel:
    """Keeps what it is given, and whose device is the current one meanwhile."""

    def __init__(self) -> None:
        self.device: Tensor | None = None
        self.on: Tensor | None = None
        self.given: tuple[Any, ...] = ()

    def __getitem__(self, programs: tuple[int, ...]) -> Any:
        def start(*arguments: Any, **constants: Any) -> None:
            self.given, self.on = (programs, arguments, constants), self.device

        return start


def test_a_kernel_is_started_while_the_device_of_its_tensors_is_the_current_one(monkeypatch) -> None:
    kernel, tensors = Kernel(), (torch.zeros(3), torch.ones(3))

    @contextmanager
    def device_of(tensor: Tensor) -> Iterator[None]:
        kernel.device = tensor
        yield
        kernel.device = None

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    launch(kernel, (4, 2), *tensors, 7, of_list=True)
    assert kernel.on is tensors[0]
    assert kernel.given == ((4, 2), (*tensors, 7), {"of_list": True, "enable_fp_fusion": True})


@pytest.mark.parametrize("expected", [torch.tensor([3.0, 4.0]), torch.zeros(2)], ids=["numbers", "zeros"])
def test_the_difference_is_a_share_of_what_is_expected_and_never_nan(expected: Tensor) -> None:
    assert difference(expected, expected) == 0
    assert difference(expected + torch.tensor([0.5, 0.0]), expected) == 0.5 / (float(expected.norm()) or 1)
    for worst in (math.nan, math.inf):
        assert difference(expected + torch.tensor([0.0, worst]), expected) == math.inf


def test_a_failure_is_told_in_one_line() -> None:
    assert failure(RuntimeError("no compiler\nbut much to say")) == "failed (RuntimeError: no compiler)"
    assert failure(ValueError()) == "failed (ValueError: no message)"
