"""The same products with each sum taken in one order, on a GPU too, so that they have the same bits each time.

torch multiplies CSR matrices on a GPU by an algorithm of cuSPARSE whose bits NVIDIA does not promise (CSR_ALG2); an
embedding bag adds its rows one after the other.
"""

from torch import Tensor
from torch.nn.functional import embedding_bag

from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products.plain import PLAIN, row_sums
from toolkit.dictionaries.sparse_products.products import SparseProducts, WeightGradients


def _decode(pattern: SparsePattern, codes: Tensor, W_dec: Tensor, start: Tensor) -> Tensor:
    by_token, order = pattern.transposed()
    return start.add_(_product(by_token, codes[order], W_dec))


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
        W_enc=out[0].copy_(_product(pattern, code_gradient, x)),
        b_enc=row_sums(pattern, code_gradient),
        W_dec=out[1].copy_(_product(pattern, codes, error_gradient)),
    )


def _product(pattern: SparsePattern, values: Tensor, dense: Tensor) -> Tensor:
    """The product of the sparse matrix with a dense one."""
    return embedding_bag(
        pattern.columns, dense, pattern.starts, mode="sum", per_sample_weights=values, include_last_offset=True
    )


ORDERED = SparseProducts(name="ordered", codes=PLAIN.codes, decode=_decode, weight_gradients=_weight_gradients)
