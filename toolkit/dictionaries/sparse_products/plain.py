"""The products of the codes that fire, by torch's own sparse matrices, on any device: the reference of the others."""

import torch
from torch import Tensor

from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products.products import SparseProducts, WeightGradients


def _codes(pattern: SparsePattern, W_enc: Tensor, b_enc: Tensor, x: Tensor) -> Tensor:
    return pattern.sampled_product(W_enc, x) + b_enc[pattern.rows]


def _decode(pattern: SparsePattern, codes: Tensor, W_dec: Tensor, start: Tensor) -> Tensor:
    by_token, order = pattern.transposed()
    return torch.addmm(start, by_token.matrix(codes[order]), W_dec)


def _weight_gradients(
    pattern: SparsePattern,
    codes: Tensor,
    x: Tensor,
    error_gradient: Tensor,
    W_dec: Tensor,
    out: tuple[Tensor, Tensor],
) -> WeightGradients:
    code_gradient = pattern.sampled_product(W_dec, error_gradient)
    return WeightGradients(
        W_enc=_product(pattern.matrix(code_gradient), x, out[0]),
        b_enc=row_sums(pattern, code_gradient),
        W_dec=_product(pattern.matrix(codes), error_gradient, out[1]),
    )


def row_sums(pattern: SparsePattern, values: Tensor) -> Tensor:
    """Return the sum of each row's values, taken in one order, which `index_add_` does not promise on a GPU."""
    return torch.segment_reduce(values, "sum", offsets=pattern.starts, unsafe=True)  # unchecked, as a GPU would wait


def _product(sparse: Tensor, dense: Tensor, out: Tensor) -> Tensor:
    return torch.addmm(out, sparse, dense, beta=0, out=out)  # mm would zero and copy its result


PLAIN = SparseProducts(name="plain", codes=_codes, decode=_decode, weight_gradients=_weight_gradients)
