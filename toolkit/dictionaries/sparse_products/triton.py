"""The products of the codes that fire, by Triton: the rows of weights, which are most of the bytes, are read once.

Rows of x and of the error are gathered from a GPU's second cache, in the type of the large matrix products. Codes are
of fp32 always.
"""

from functools import partial

import torch
from torch import Tensor

from toolkit.dictionaries.kernels import launch
from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products.plain import row_sums
from toolkit.dictionaries.sparse_products.products import SparseProducts, WeightGradients, row_squares
from toolkit.dictionaries.sparse_products.triton_kernels import (
    WIDTH,
    gathered_sums,
    latent_gradients,
    row_products,
)

SPLIT = 256
"""Nonzeros of a row above which several programs share it."""
SEGMENT = 64
"""Nonzeros of such a row that one of them takes."""


def triton_products(gathered: torch.dtype, split: int = SPLIT) -> SparseProducts:
    """Return the products that gather rows of x and of the error in this type.

    Latents with more nonzeros than `split` are shared out among programs.
    """
    return SparseProducts(
        name="triton",
        codes=partial(_codes, split=split),
        decode=_decode,
        weight_gradients=partial(_weight_gradients, gathered=gathered, split=split),
    )


def _codes(pattern: SparsePattern, W_enc: Tensor, b_enc: Tensor, x: Tensor, *, split: int) -> Tensor:
    codes = torch.empty_like(pattern.rows, dtype=torch.float32)
    width, every = W_enc.shape[1], (pattern.shape[0], 1)
    arguments = (W_enc.contiguous(), x.contiguous(), codes, width, split)
    given = (pattern.starts, pattern.columns, pattern.starts, *arguments)
    launch(row_products, every, *given, of_list=False, segment=SEGMENT)
    _products_of_long(pattern, _long(pattern, split), *arguments)
    return codes + b_enc[pattern.rows]


def _decode(pattern: SparsePattern, codes: Tensor, W_dec: Tensor, start: Tensor) -> Tensor:
    by_token, order = pattern.transposed()
    n_tokens, width = start.shape
    out, most = start.contiguous(), pattern.shape[0]
    arguments = (by_token.starts, by_token.columns, by_token.starts, codes[order], W_dec, out, width, most)
    launch(gathered_sums, (n_tokens, _stretches(width)), *arguments, of_list=False, adds=True)
    return out


def _weight_gradients(
    pattern: SparsePattern,
    codes: Tensor,
    x: Tensor,
    error_gradient: Tensor,
    W_dec: Tensor,
    out: tuple[Tensor, Tensor],
    *,
    gathered: torch.dtype,
    split: int,
) -> WeightGradients:
    width, code_gradient, squares = W_dec.shape[1], torch.empty_like(codes), torch.empty_like(W_dec[:, 0])
    x, pulled = x.to(gathered).contiguous(), error_gradient.to(gathered).contiguous()
    starts, columns, codes = pattern.starts, pattern.columns, codes.contiguous()
    each = (starts, columns, codes, x, pulled, W_dec, code_gradient, *out, squares, width, split)
    launch(latent_gradients, (len(W_dec),), *each)
    if len(long := _long(pattern, split)):
        _products_of_long(pattern, long, W_dec, pulled, code_gradient, width, split)
        for values, dense, sums in ((code_gradient, x, out[0]), (codes, pulled, out[1])):
            arguments = (starts, columns, long, values, dense, sums, width, split)
            launch(gathered_sums, (len(long), _stretches(width)), *arguments, of_list=True, adds=False)
        squares[long] = row_squares(out[0][long], out[1][long])  # of few rows, which were just written
    return WeightGradients(out[0], row_sums(pattern, code_gradient), out[1], squares)


def _long(pattern: SparsePattern, split: int) -> Tensor:
    """Rows among which are all that have more nonzeros than `split`; a GPU is not waited for."""
    most = min(pattern.shape[0], len(pattern.rows) // (split + 1))
    return pattern.starts.diff().topk(most, sorted=False).indices


def _products_of_long(
    pattern: SparsePattern, long: Tensor, left: Tensor, right: Tensor, out: Tensor, width: int, split: int
) -> None:
    if len(long):
        segments = -(-pattern.shape[1] // SEGMENT)
        arguments = (pattern.starts, pattern.columns, long, left, right, out, width, split)
        launch(row_products, (len(long), segments), *arguments, of_list=True, segment=SEGMENT)


def _stretches(width: int) -> int:
    return -(-width // WIDTH.value)
