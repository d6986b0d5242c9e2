from collections.abc import Callable

import pytest
from torch import Tensor

from toolkit.stitching.moments import Moments, StreamMoments


@pytest.fixture(scope="session")
def moments_of() -> Callable[..., Moments]:
    """The moments of rows of x and y, by a plain formula, where y is; the first `n_first` rows are the first tokens."""

    def stream(x: Tensor, n_first: int) -> StreamMoments:
        first, others = x[:n_first].double(), x[n_first:].double()
        centred = others - others.mean(dim=0)
        return StreamMoments(
            n=len(others), mean=others.mean(dim=0), first_mean=first.mean(dim=0), products=centred.T @ centred
        )

    def moments(x: Tensor, y: Tensor, n_first: int = 1) -> Moments:
        x = x.to(y.device)
        centred = [each[n_first:].double() - each[n_first:].double().mean(dim=0) for each in (x, y)]
        return Moments(front=stream(x, n_first), rest=stream(y, n_first), cross=centred[0].T @ centred[1])

    return moments
