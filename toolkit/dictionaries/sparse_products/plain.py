"""The products of the codes that fire, by torch's own sparse matrices, on any device: the reference of the others."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products.products import SparseProducts, WeightGradients


def _codes(pattern: SparsePattern, W_enc: Tensor, b_enc: Tensor, x: Tensor) -> Tensor:
    return pattern.sampled_product(W_enc, x) + b_enc[pattern.rows]


def _decode(pattern: SparsePattern, codes: Tensor, W_dec: Tensor, start: Tensor) -> Tensor:
    by_token, order = pattern.transposed()
    return torch.addmm(start, by_token.matrix(codes[order]), W_dec)


def weight_gradients(
    pattern: SparsePattern,
    codes: Tensor,
    x: Tensor,
    error_gradient: Tensor,
    W_dec: Tensor,
    out: tuple[Tensor, Tensor],
    *,
    product: Callable[[SparsePattern, Tensor, Tensor, Tensor], Tensor],
) -> WeightGradients:
    """Return what `SparseProducts.weight_gradients` does; product(pattern, values, dense, out) multiplies the sparse
    matrix by a dense one, into `out`."""
    code_gradient = pattern.sampled_product(W_dec, error_gradient)
    return WeightGradients(
        W_enc=product(pattern, code_gradient, x, out[0]),
        b_enc=row_sums(pattern, code_gradient),
        W_dec=product(pattern, codes, error_gradient, out[1]),
    )


def row_sums(pattern: SparsePattern, values: Tensor) -> Tensor:
    """Return the sum of each row's values, taken in one order, which `index_add_` does not promise on a GPU."""
    return torch.segment_reduce(values, "sum", offsets=pattern.starts, unsafe=True)  # unchecked, as a GPU would wait


def _product(pattern: SparsePattern, values: Tensor, dense: Tensor, out: Tensor) -> Tensor:
    return torch.addmm(out, pattern.matrix(values), dense, beta=0, out=out)  # mm would zero and copy its result


PLAIN = SparseProducts(
    name="plain", codes=_codes, decode=_decode, weight_gradients=partial(weight_gradients, product=_product)
)
