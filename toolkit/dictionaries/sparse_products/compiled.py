"""The products of the codes that fire, on a CPU, compiled by numba when they are first called.

Weights by latents are gone through once: a decoder row gives a latent's code gradients while its gradient grows from
the same rows of the error. Four tokens at a time share what is loaded. Each number is summed by one thread in the
order of the pattern, so that results do not depend on the number of threads.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products.compiled_selection import above
from toolkit.dictionaries.sparse_products.compiling import Array, compiled, shared_out, threads_for
from toolkit.dictionaries.sparse_products.products import SparseProducts, WeightGradients

Given = tuple[Array, Array, Array, Array]
Gradients = tuple[Array, Array, Array]

ZERO = np.float32(0)
CACHE_LINE = 16  # numbers; two threads write to none together


@compiled
def _code_loop(
    starts: Array, tokens: Array, W_enc: Array, b_enc: Array, x: Array, out: Array, first: int, last: int
) -> None:
    for latent in range(first, last):
        row, bias, end = W_enc[latent], b_enc[latent], starts[latent + 1]
        for i in range(starts[latent], end, 4):
            i1, i2, i3 = min(i + 1, end - 1), min(i + 2, end - 1), min(i + 3, end - 1)
            x0, x1, x2, x3 = x[tokens[i]], x[tokens[i1]], x[tokens[i2]], x[tokens[i3]]
            s0 = s1 = s2 = s3 = ZERO
            for j in range(len(row)):
                s0 += row[j] * x0[j]
                s1 += row[j] * x1[j]
                s2 += row[j] * x2[j]
                s3 += row[j] * x3[j]
            out[i3], out[i2], out[i1], out[i] = s3 + bias, s2 + bias, s1 + bias, s0 + bias


@compiled
def _decode_loop(starts: Array, tokens: Array, codes: Array, W_dec: Array, out: Array, first: int, last: int) -> None:
    for latent in range(len(starts) - 1):
        row = W_dec[latent, first:last]
        for i in range(starts[latent], starts[latent + 1]):
            code, decoded = codes[i], out[tokens[i], first:last]
            for j in range(len(row)):
                decoded[j] += code * row[j]


@compiled
def _gradient_loop(starts: Array, tokens: Array, given: Given, gradients: Gradients, first: int, last: int) -> None:
    codes, x, error, W_dec = given
    by_encoder, by_bias, by_decoder = gradients
    for latent in range(first, last):
        row, end = W_dec[latent], starts[latent + 1]
        encoder, decoder, bias = by_encoder[latent], by_decoder[latent], ZERO
        for j in range(len(row)):
            encoder[j] = ZERO
            decoder[j] = ZERO
        for i in range(starts[latent], end, 4):
            i1, i2, i3 = min(i + 1, end - 1), min(i + 2, end - 1), min(i + 3, end - 1)
            t0, t1, t2, t3 = tokens[i], tokens[i1], tokens[i2], tokens[i3]
            r0, r1, r2, r3 = error[t0], error[t1], error[t2], error[t3]
            g0 = g1 = g2 = g3 = ZERO
            for j in range(len(row)):
                g0 += row[j] * r0[j]
                g1 += row[j] * r1[j]
                g2 += row[j] * r2[j]
                g3 += row[j] * r3[j]
            c0, c1, c2, c3 = codes[i], codes[i1], codes[i2], codes[i3]
            if end - i < 4:  # the last nonzero stands in for those that are not there
                c1, g1 = (c1, g1) if i + 1 < end else (ZERO, ZERO)
                c2, g2 = (c2, g2) if i + 2 < end else (ZERO, ZERO)
                c3, g3 = ZERO, ZERO
            for j in range(len(row)):
                decoder[j] += c0 * r0[j] + c1 * r1[j] + (c2 * r2[j] + c3 * r3[j])
            x0, x1, x2, x3 = x[t0], x[t1], x[t2], x[t3]
            for j in range(len(row)):
                encoder[j] += g0 * x0[j] + g1 * x1[j] + (g2 * x2[j] + g3 * x3[j])
            bias += g0 + g1 + (g2 + g3)
        by_bias[latent] = bias


def _codes(pattern: SparsePattern, W_enc: Tensor, b_enc: Tensor, x: Tensor) -> Tensor:
    out = x.new_empty(len(pattern.rows))
    given = (W_enc.numpy(), b_enc.numpy(), x.numpy(), out.numpy())
    _share_out(_code_loop, pattern, given, _latents(pattern, _threads(pattern, x)))
    return out


def _decode(pattern: SparsePattern, codes: Tensor, W_dec: Tensor, start: Tensor) -> Tensor:
    given = (codes.numpy(), W_dec.numpy(), start.numpy())
    _share_out(_decode_loop, pattern, given, _columns(start.shape[1], _threads(pattern, start)))
    return start


def _weight_gradients(
    pattern: SparsePattern,
    codes: Tensor,
    x: Tensor,
    error_gradient: Tensor,
    W_dec: Tensor,
    out: tuple[Tensor, Tensor],
) -> WeightGradients:
    gradients = WeightGradients(W_enc=out[0], b_enc=W_dec.new_empty(len(W_dec)), W_dec=out[1])
    given = tuple(tensor.numpy() for tensor in (codes, x, error_gradient, W_dec))
    results = tuple(tensor.numpy() for tensor in gradients[:3])
    _share_out(_gradient_loop, pattern, (given, results), _latents(pattern, _threads(pattern, x)))
    return gradients


def _threads(pattern: SparsePattern, dense: Tensor) -> int:
    return threads_for(len(pattern.rows) * dense.shape[1])


def _latents(pattern: SparsePattern, threads: int) -> Array:
    """Bounds of stretches of latents with as many nonzeros each."""
    even = np.linspace(0, len(pattern.rows), threads + 1)[1:-1]
    return np.array([0, *np.searchsorted(pattern.starts.numpy(), even), pattern.shape[0]])


def _columns(width: int, threads: int) -> Array:
    """Bounds of stretches of columns."""
    even = np.linspace(0, width, threads + 1)[1:-1]
    return np.array([0, *(even // CACHE_LINE * CACHE_LINE).astype(int), width])


def _share_out(loop: Callable[..., None], pattern: SparsePattern, given: Sequence[Any], bounds: Array) -> None:
    shared_out(loop, (pattern.starts.numpy(), pattern.columns.numpy(), *given), bounds.tolist())


COMPILED = SparseProducts(
    name="compiled", above=above, codes=_codes, decode=_decode, weight_gradients=_weight_gradients
)
