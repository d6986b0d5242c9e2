"""The same products with each sum taken in one order, on a GPU too, so that they have the same bits each time.

torch multiplies CSR matrices on a GPU by an algorithm of cuSPARSE whose bits NVIDIA does not promise (CSR_ALG2); an
embedding bag adds its rows one after the other.
"""

from functools import partial

from torch import Tensor
from torch.nn.functional import embedding_bag

from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products.plain import PLAIN, weight_gradients
from toolkit.dictionaries.sparse_products.products import SparseProducts


def _decode(pattern: SparsePattern, codes: Tensor, W_dec: Tensor, start: Tensor) -> Tensor:
    by_token, order = pattern.transposed()
    return start.add_(_sums(by_token, codes[order], W_dec))


def _product(pattern: SparsePattern, values: Tensor, dense: Tensor, out: Tensor) -> Tensor:
    return out.copy_(_sums(pattern, values, dense))


def _sums(pattern: SparsePattern, values: Tensor, dense: Tensor) -> Tensor:
    """The product of the sparse matrix with a dense one."""
    return embedding_bag(
        pattern.columns, dense, pattern.starts, mode="sum", per_sample_weights=values, include_last_offset=True
    )


ORDERED = SparseProducts(
    name="ordered", codes=PLAIN.codes, decode=_decode, weight_gradients=partial(weight_gradients, product=_product)
)
