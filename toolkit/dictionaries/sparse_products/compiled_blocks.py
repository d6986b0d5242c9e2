"""Codes and gradients of latents' weights, on a CPU: loops that numba compiles, for 64 columns at a time.

So many columns of all tokens stay in a core's own cache while all latents gather from them: tokens' whole rows would be
fetched from further away for each latent anew. 64 numbers are one value of LLVM's, which keeps them in registers: a
decoder row, and its gradient while it grows from the same numbers that give the codes' gradients.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model
from torch import Tensor
from torch.nn.functional import pad

from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products.compiling import (
    CACHE_LINE,
    SUMS_MAY,
    Array,
    compiled,
    shared_out,
    threads_for,
    to_all_lanes,
)
from toolkit.dictionaries.sparse_products.products import WeightGradients

COLUMNS = 64
FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, COLUMNS)
MAY = tuple(sorted(SUMS_MAY))


class _Lanes(types.Type):
    """64 numbers."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, VECTOR)


LANES = _Lanes()


def _place(context: Any, build: Any, signature: Any, given: Any) -> Any:
    """Where a row's columns begin: in each row they stand together."""
    array = context.make_array(signature.args[0])(context, build, given[0])
    row, start = (context.cast(build, given[i], signature.args[i], types.intp) for i in (1, 2))
    of_row = build.mul(row, cgutils.unpack_tuple(build, array.strides, 2)[0])
    place = build.gep(build.bitcast(array.data, ir.IntType(8).as_pointer()), [of_row])
    return build.bitcast(build.gep(build.bitcast(place, FLOAT.as_pointer()), [start]), VECTOR.as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def _load(_typing: Any, matrix: Any, row: Any, start: Any) -> Any:
    """Return 64 numbers of a row from `start`."""

    def generate(context: Any, build: Any, signature: Any, given: Any) -> Any:
        return build.load(_place(context, build, signature, given), align=4)

    return LANES(matrix, row, start), generate


@intrinsic  # type: ignore[untyped-decorator]
def _store(_typing: Any, matrix: Any, row: Any, start: Any, lanes: Any) -> Any:
    """Write 64 numbers to a row from `start`."""

    def generate(context: Any, build: Any, signature: Any, given: Any) -> Any:
        build.store(given[3], _place(context, build, signature, given), align=4)
        return context.get_dummy_value()

    return types.void(matrix, row, start, lanes), generate


@intrinsic  # type: ignore[untyped-decorator]
def _zeros(_typing: Any) -> Any:
    return LANES(), lambda _context, _build, _signature, _given: ir.Constant(VECTOR, [0.0] * COLUMNS)


@intrinsic  # type: ignore[untyped-decorator]
def _plus(_typing: Any, sums: Any, factor: Any, lanes: Any) -> Any:
    """Return sums + factor × lanes."""

    def generate(_context: Any, build: Any, _signature: Any, given: Any) -> Any:
        product = build.fmul(to_all_lanes(build, given[1], VECTOR), given[2], flags=MAY)
        return build.fadd(given[0], product, flags=MAY)

    return LANES(LANES, types.float32, LANES), generate


@intrinsic  # type: ignore[untyped-decorator]
def _dot(_typing: Any, left: Any, right: Any) -> Any:
    def generate(_context: Any, build: Any, _signature: Any, given: Any) -> Any:
        name, kind = f"llvm.vector.reduce.fadd.v{COLUMNS}f32", ir.FunctionType(FLOAT, [FLOAT, VECTOR])
        add_up = cgutils.get_or_insert_function(build.module, kind, name)
        return build.call(add_up, [ir.Constant(FLOAT, 0.0), build.fmul(*given, flags=MAY)], fastmath=MAY)

    return types.float32(LANES, LANES), generate


@compiled
def _aligned(n_rows: int) -> Array:
    """Rows of 64 numbers that begin where lines of a cache do, of arbitrary content."""
    numbers = np.empty(n_rows * COLUMNS + CACHE_LINE, np.float32)
    start = -(numbers.ctypes.data // 4) % CACHE_LINE
    return numbers[start : start + n_rows * COLUMNS].reshape((n_rows, COLUMNS))


@compiled
def _take(block: Array, matrix: Array, start: int) -> None:
    """Copy columns of a matrix from `start`."""
    for i in range(len(block)):
        _store(block, i, 0, _load(matrix, i, start))


@compiled
def _code_loop(starts: Array, tokens: Array, W_enc: Array, x: Array, codes: Array, first: int, last: int) -> None:
    block = _aligned(len(x))
    for start in range(0, x.shape[1], COLUMNS):
        _take(block, x, start)
        for latent in range(first, last):
            row = _load(W_enc, latent, start)
            for i in range(starts[latent], starts[latent + 1]):
                codes[i] += _dot(row, _load(block, tokens[i], 0))


@compiled
def _decoder_loop(
    starts: Array, tokens: Array, given: tuple[Array, ...], gradients: tuple[Array, ...], first: int, last: int
) -> None:
    codes, error, W_dec = given
    by_code, by_decoder, squares = gradients
    block = _aligned(len(error))
    for start in range(0, W_dec.shape[1], COLUMNS):
        _take(block, error, start)
        for latent in range(first, last):
            row, sums = _load(W_dec, latent, start), _zeros()
            for i in range(starts[latent], starts[latent + 1]):
                pulled = _load(block, tokens[i], 0)
                by_code[i] += _dot(row, pulled)
                sums = _plus(sums, codes[i], pulled)
            _store(by_decoder, latent, start, sums)
            squares[latent] += _dot(sums, sums)


@compiled
def _encoder_loop(
    starts: Array, tokens: Array, given: tuple[Array, ...], gradients: tuple[Array, ...], first: int, last: int
) -> None:
    by_code, x = given
    by_encoder, by_bias, squares = gradients
    block = _aligned(len(x))
    for start in range(0, x.shape[1], COLUMNS):
        _take(block, x, start)
        for latent in range(first, last):
            sums = _zeros()
            for i in range(starts[latent], starts[latent + 1]):
                sums = _plus(sums, by_code[i], _load(block, tokens[i], 0))
            _store(by_encoder, latent, start, sums)
            squares[latent] += _dot(sums, sums)
    for latent in range(first, last):
        for i in range(starts[latent], starts[latent + 1]):
            by_bias[latent] += by_code[i]


def codes(pattern: SparsePattern, W_enc: Tensor, b_enc: Tensor, x: Tensor) -> Tensor:
    """Return what `SparseProducts.codes` does."""
    found = b_enc[pattern.rows]
    _run(_code_loop, pattern, x.shape[1], *(tensor.numpy() for tensor in (_padded(W_enc), _padded(x), found)))
    return found


def weight_gradients(
    pattern: SparsePattern,
    codes: Tensor,
    x: Tensor,
    error_gradient: Tensor,
    W_dec: Tensor,
    out: tuple[Tensor, Tensor],
) -> WeightGradients:
    """Return what `SparseProducts.weight_gradients` does, with `row_squares`."""
    by_code, (b_enc, squares) = torch.zeros_like(codes), W_dec.new_zeros(2, len(W_dec))
    by_encoder, by_decoder = map(_room_for, out)
    for loop, given, results in (
        (_decoder_loop, (codes, _padded(error_gradient), _padded(W_dec)), (by_code, by_decoder, squares)),
        (_encoder_loop, (by_code, _padded(x)), (by_encoder, b_enc, squares)),
    ):
        arrays = (tuple(tensor.numpy() for tensor in tensors) for tensors in (given, results))
        _run(loop, pattern, x.shape[1], *arrays)
    for gradient, found in zip(out, (by_encoder, by_decoder), strict=True):
        if found is not gradient:
            gradient.copy_(found[:, : x.shape[1]])
    return WeightGradients(W_enc=out[0], b_enc=b_enc, W_dec=out[1], row_squares=squares)


def _padded(matrix: Tensor) -> Tensor:
    """The matrix with columns of zeros after its own, so that it has whole blocks; itself where it has."""
    missing = -matrix.shape[1] % COLUMNS
    return pad(matrix, (0, missing)) if missing else matrix.contiguous()


def _room_for(matrix: Tensor) -> Tensor:
    """A matrix with whole blocks of columns for results, of arbitrary content; the matrix itself where it has."""
    missing = -matrix.shape[1] % COLUMNS
    fits = not missing and matrix.is_contiguous()
    return matrix if fits else matrix.new_empty((len(matrix), matrix.shape[1] + missing))


def _run(loop: Callable[..., None], pattern: SparsePattern, width: int, *given: Any) -> None:
    """Run the loop on stretches of latents with as many nonzeros each."""
    even = np.linspace(0, len(pattern.rows), threads_for(len(pattern.rows) * width) + 1)[1:-1]
    bounds = [0, *np.searchsorted(pattern.starts.numpy(), even).tolist(), pattern.shape[0]]
    shared_out(loop, (pattern.starts.numpy(), pattern.columns.numpy(), *given), bounds)
