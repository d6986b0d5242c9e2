"""Which scores exceed a limit, on a CPU: one pass that numba compiles, with their values.

LLVM does not find by itself how to compare many numbers and go to the few that are larger: it is told so here.
"""

from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from torch import Tensor

from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products.compiling import Array, compiled, shared_out, threads_for, to_all_lanes

AT_ONCE = 64  # numbers, a bit of an integer each
FEW = 32  # one number in as many is kept as a rule; where more are, room is made
BIT, UNSIGNED, FLOAT = ir.IntType(1), ir.IntType(32), ir.FloatType()
NO_BIT = np.uint64(0)


@intrinsic  # type: ignore[untyped-decorator]
def _exceeding(_typing: Any, row: Any, start: Any, limit: Any) -> Any:
    """Return a bit for each of 64 numbers of a row from `start`: whether it exceeds the limit. Integers of 16 bits
    stand for bf16."""

    def generate(context: Any, build: Any, signature: Any, given: Any) -> Any:
        kind, array = signature.args[0].dtype, context.make_array(signature.args[0])(context, build, given[0])
        numbers = ir.VectorType(context.get_data_type(kind), AT_ONCE)
        place = build.gep(array.data, [context.cast(build, given[1], signature.args[1], types.intp)])
        loaded = build.load(build.bitcast(place, numbers.as_pointer()), align=kind.bitwidth // 8)
        if isinstance(kind, types.Integer):  # bf16 is the upper half of fp32
            wide = build.zext(loaded, ir.VectorType(UNSIGNED, AT_ONCE))
            halves = ir.Constant(ir.VectorType(UNSIGNED, AT_ONCE), [16] * AT_ONCE)
            loaded = build.bitcast(build.shl(wide, halves), ir.VectorType(FLOAT, AT_ONCE))
        limits = to_all_lanes(build, given[2], ir.VectorType(FLOAT, AT_ONCE))
        return build.bitcast(build.fcmp_ordered(">", loaded, limits), ir.IntType(AT_ONCE))

    return types.uint64(row, start, limit), generate


@intrinsic  # type: ignore[untyped-decorator]
def _lowest(_typing: Any, bits: Any) -> Any:
    """Return the place of the lowest bit that is set."""

    def generate(_context: Any, build: Any, _signature: Any, given: Any) -> Any:
        return build.cttz(given[0], ir.Constant(BIT, 1))

    return types.int64(types.uint64), generate


@compiled
def _scan(scores: Array, limits: Array, first: int, last: int) -> tuple[Array, Array, Array]:
    width, n = scores.shape[1], 0
    padded = np.empty(AT_ONCE, scores.dtype)
    size = (last - first) * width // FEW + width
    rows, columns, values = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, scores.dtype)
    for i in range(first, last):
        row, limit = scores[i], limits[i]
        if n + width > size:
            size *= 2
            more_rows, more_columns = np.empty(size, np.int32), np.empty(size, np.int32)
            more_values = np.empty(size, scores.dtype)
            more_rows[:n], more_columns[:n], more_values[:n] = rows[:n], columns[:n], values[:n]
            rows, columns, values = more_rows, more_columns, more_values
        for start in range(0, width, AT_ONCE):
            left = width - start
            if left >= AT_ONCE:
                found = _exceeding(row, start, limit)
            else:
                padded[:left] = row[start:]
                found = _exceeding(padded, 0, limit) & ((np.uint64(1) << np.uint64(left)) - np.uint64(1))
            while found != NO_BIT:
                column = start + _lowest(found)
                rows[n], columns[n], values[n] = i, column, row[column]
                n += 1
                found &= found - np.uint64(1)
    return rows[:n], columns[:n], values[:n]


def above(scores: Tensor, limits: Tensor) -> tuple[SparsePattern, Tensor]:
    """Return what `SparseProducts.above` does."""
    numbers = scores.view(torch.int16) if scores.dtype == torch.bfloat16 else scores
    bounds = np.linspace(0, len(scores), threads_for(scores.numel()) + 1).astype(int).tolist()
    given = (numbers.numpy(), limits.numpy())
    parts = shared_out(_scan, given, bounds) or [_scan(*given, 0, 0)]  # of no row
    rows, columns, values = (torch.from_numpy(_joined(arrays)) for arrays in zip(*parts, strict=True))
    return SparsePattern(rows, columns, (len(scores), scores.shape[1])), values.view(scores.dtype)


def _joined(arrays: tuple[Array, ...]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
