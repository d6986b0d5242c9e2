"""Sparse codes in CSR form: which entries are large, and the three products that training and decoding need of them."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

with warnings.catch_warnings():  # torch says once per process that CSR is in beta; say it here, unheard
    warnings.simplefilter("ignore")
    _zero = torch.zeros(2, dtype=torch.int32)
    torch.sparse_csr_tensor(_zero, _zero[:0], torch.zeros(0), (1, 1))


def positive_positions(codes: Float[Tensor, "row column"]) -> Int[Tensor, " nonzero"]:
    """Return ascending flat positions of what exceeds zero."""
    if codes.dtype == torch.bfloat16:  # floats exceed zero where their bits do; integers compare faster
        codes = codes.view(torch.int16)
    if codes.device.type == "cpu":  # numpy takes a fifth of torch's time here
        return torch.from_numpy(np.flatnonzero(codes.numpy() > 0))
    return (codes > 0).flatten().nonzero().squeeze(1)


@dataclass(frozen=True)
class SparsePattern:
    """Which entries of a matrix are not zero: row-major coordinates, in the 32-bit integers that BLAS wants.

    Latents and tokens may be rows and columns either way; `transposed` changes between the two.
    """

    rows: Int[Tensor, " nonzero"]
    columns: Int[Tensor, " nonzero"]
    shape: tuple[int, int]

    @classmethod
    def from_flat(cls, flat: Int[Tensor, " nonzero"], shape: tuple[int, int]) -> "SparsePattern":
        """Build from ascending positions in the flattened matrix."""
        rows = torch.div(flat, shape[1], rounding_mode="floor")
        return cls(rows.int(), (flat - rows * shape[1]).int(), shape)

    def restricted(self, kept: Int[Tensor, " kept"]) -> "SparsePattern":
        """Return the pattern of these nonzeros alone."""
        return SparsePattern(self.rows[kept], self.columns[kept], self.shape)

    @cached_property
    def starts(self) -> Int[Tensor, " start"]:
        """Where each row's nonzeros start, and where the last one's end; a GPU is not waited for."""
        every_row = torch.arange(self.shape[0] + 1, dtype=self.rows.dtype, device=self.rows.device)
        return torch.searchsorted(self.rows, every_row, out_int32=True)

    def matrix(self, values: Float[Tensor, " nonzero"]) -> Tensor:
        """Return the CSR matrix with these values."""
        return torch.sparse_csr_tensor(self.starts, self.columns, values, self.shape, check_invariants=False)

    def transposed(self) -> tuple["SparsePattern", Int[Tensor, " nonzero"]]:
        """Return the transposed pattern and the order in which it takes this pattern's values."""
        order = torch.argsort(self.columns, stable=True)
        return SparsePattern(self.columns[order], self.rows[order], self.shape[::-1]), order

    def sampled_product(
        self, left: Float[Tensor, "row width"], right: Float[Tensor, "column width"]
    ) -> Float[Tensor, " nonzero"]:
        """Return left[row] · right[column] for each coordinate, computing no other entry."""
        zeros = self.matrix(torch.zeros(len(self.rows), dtype=left.dtype, device=left.device))
        return torch.sparse.sampled_addmm(zeros, left, right.t(), beta=0.0).values()


def above(
    scores: Float[Tensor, "row column"], limits: Float[Tensor, " row"]
) -> tuple[SparsePattern, Float[Tensor, " nonzero"]]:
    """Return the pattern of the scores that exceed their row's limit, and these scores."""
    exceed = (scores > _rounded_down(limits, scores.dtype)[:, None]).flatten()
    on_cpu = exceed.device.type == "cpu"  # where numpy takes a fifth of torch's time
    flat = torch.from_numpy(np.flatnonzero(exceed.numpy())) if on_cpu else exceed.nonzero().squeeze(1)
    return SparsePattern.from_flat(flat, (len(scores), scores.shape[1])), scores.view(-1)[flat]


def _rounded_down(limits: Tensor, dtype: torch.dtype) -> Tensor:
    """The limits in the type of scores, which exceed the same: torch would copy all scores to the limits' type."""
    if dtype == limits.dtype:
        return limits
    rounded = limits.to(dtype)
    below = torch.nextafter(rounded, rounded.new_full((), -torch.inf))
    return torch.where(rounded.to(limits.dtype) > limits, below, rounded)
