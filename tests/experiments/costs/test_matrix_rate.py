"""The rate of matrix products."""

import time

import pytest
import torch

from toolkit.experiments.costs.matrix_rate import matrix_rate


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_by_hand_take_the_time_that_the_rate_tells(dtype: torch.dtype):
    left = torch.randn(256, 256).to(dtype)
    rates = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(20):
            left @ left
        rates.append(20 * 2 * 256**3 / (time.perf_counter() - started))
    rate = matrix_rate(torch.device("cpu"), dtype, size=256, seconds=0.05)
    assert min(rates) / 4 < rate < 4 * max(rates)
