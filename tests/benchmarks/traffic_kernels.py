"""What Triton's kernels move: torch stands in for each, computes the same, and says which bytes the kernel would pass.

A row of weights or of a gradient passes the memory once, as one program holds it. Rows that are gathered by the
nonzeros come from the second cache, where x and the error lie, and of the decoder the stretch that programs share.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from pretended_device import PretendedTensor
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from toolkit.dictionaries import row_kernels
from toolkit.dictionaries.sparse_products import choosing, triton

Bytes = tuple[int, int]
"""Bytes that pass the memory, and those of gathered rows."""
Record = Callable[[str, Bytes], None]


def row_products(
    starts: Tensor, columns: Tensor, _listed: Tensor, left: Tensor, right: Tensor, out: Tensor, _width: int,
    split: int, *, of_list: bool, segment: int,
) -> Bytes:  # fmt: skip
    """out[nonzero] = left[row] · right[column]."""
    rows, at = _own(starts, split, of_list)
    gathered = right[columns[at]]
    out[at] = (left[rows] * gathered.float()).sum(dim=1)
    moved = _rows_once(left, rows) + _rows_once(right, columns[at]) + _each(at, columns, out)
    return starts.nbytes + moved, gathered.nbytes


def gathered_sums(
    starts: Tensor, columns: Tensor, _listed: Tensor, values: Tensor, dense: Tensor, out: Tensor, _width: int,
    split: int, *, of_list: bool, adds: bool,
) -> Bytes:  # fmt: skip
    """out[row] = Σ values[nonzero] dense[column], added to what is there if `adds`."""
    rows, at = _own(starts, split, of_list)
    gathered = dense[columns[at]]
    own = _are_own(starts, split, of_list)
    if not adds:
        out[own] = 0
    out.index_add_(0, rows, values[at][:, None] * gathered.float())
    moved = _rows_once(dense, columns[at]) + (1 + adds) * out[own].nbytes + _each(at, columns, values)
    return starts.nbytes + moved, gathered.nbytes


def latent_gradients(
    starts: Tensor, columns: Tensor, codes: Tensor, x: Tensor, error: Tensor, W_dec: Tensor, code_gradient: Tensor,
    d_W_enc: Tensor, d_W_dec: Tensor, squares: Tensor, _width: int, split: int,
) -> Bytes:  # fmt: skip
    """The gradients of codes, encoder rows and decoder rows, and sums of squares."""
    rows, at = _own(starts, split, of_list=False)
    read, pulled = x[columns[at]], error[columns[at]]
    code_gradient[at] = (W_dec[rows] * pulled.float()).sum(dim=1)
    for out, by, gathered in ((d_W_enc, code_gradient, read), (d_W_dec, codes, pulled)):
        out.zero_().index_add_(0, rows, by[at][:, None] * gathered.float())
    squares.copy_(d_W_enc.square().sum(dim=1) + d_W_dec.square().sum(dim=1))
    weights = starts.nbytes + W_dec.nbytes + d_W_enc.nbytes + d_W_dec.nbytes + squares.nbytes
    once = _rows_once(x, columns[at]) + _rows_once(error, columns[at]) + _each(at, columns, codes, code_gradient)
    return weights + once, read.nbytes + pulled.nbytes


def adam_of_rows(*given: Any) -> Bytes:
    """Adam's step of both rows, norms of the decoder's, and the encoder that these scale."""
    rows, gradients, moments, (norms, encoder) = given[:2], given[2:4], given[4:8], given[8:10]
    n_streams, _, shrink, rate, correction, steps, beta, beta_squares, epsilon = given[10:]
    if steps:
        for weight, gradient, average, square in zip(rows, gradients, moments[:2], moments[2:], strict=True):
            average.lerp_(shrink * gradient, 1 - beta)
            square.mul_(beta_squares).addcmul_(gradient, gradient, value=(1 - beta_squares) * shrink**2)
            weight.sub_(rate * average / (square.sqrt() * correction + epsilon))
    norms.copy_(rows[1].view(len(norms), n_streams, -1).norm(dim=2))
    encoder.copy_(rows[0] * norms.sum(dim=1, keepdim=True))
    read_and_written = 2 * _size(rows + moments) + _size(gradients) if steps else _size(rows)
    return read_and_written + _size((norms, encoder)), 0


KERNELS = {triton: (row_products, gathered_sums, latent_gradients), row_kernels: (adam_of_rows,)}


@contextmanager
def standing_in(record: Record) -> Iterator[None]:
    """Inside, rules with sparse products take Triton's kernels, and each launch is recorded by its kernel's name."""
    with ExitStack() as stack:
        for module, kernels in KERNELS.items():
            for kernel in kernels:
                stack.enter_context(patch.object(module, kernel.__name__, _Kernel(kernel, record)))
        stack.enter_context(patch.object(choosing, "products_for", lambda _, __, dtype: triton.triton_products(dtype)))
        yield


class _Kernel:
    """What is launched as a kernel is, on tensors of the pretended device."""

    def __init__(self, compute: Callable[..., Bytes], record: Record) -> None:
        self._compute, self._record = compute, record

    def __getitem__(self, _grid: tuple[int, ...]) -> Callable[..., None]:
        return self._launch

    def _launch(self, *arguments: Any, enable_fp_fusion: bool, **options: Any) -> None:
        held = [each.held if isinstance(each, PretendedTensor) else each for each in arguments]
        with _disable_current_modes(), torch.no_grad():
            self._record(f"triton's {self._compute.__name__}", self._compute(*held, **options))


def _own(starts: Tensor, split: int, of_list: bool) -> tuple[Tensor, Tensor]:
    """Rows and places of the nonzeros that a kernel works on, as `row_of` says."""
    counts = starts.diff().long()
    rows = torch.repeat_interleave(torch.arange(len(counts)), counts)
    at = _are_own(starts, split, of_list)[rows].nonzero().squeeze(1)
    return rows[at], at


def _are_own(starts: Tensor, split: int, of_list: bool) -> Tensor:
    return (starts.diff() > split) == of_list


def _size(tensors: tuple[Tensor, ...]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _rows_once(matrix: Tensor, rows: Tensor) -> int:
    return len(rows.unique()) * matrix[0].nbytes


def _each(at: Tensor, *vectors: Tensor) -> int:
    return sum(len(at) * vector.element_size() for vector in vectors)
