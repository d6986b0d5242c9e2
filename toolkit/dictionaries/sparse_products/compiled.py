"""The products of the codes that fire, on a CPU, compiled by numba when they are first called.

Each number is summed by one thread in the order of the pattern, so that results do not depend on the number of threads.
"""

import numpy as np
from torch import Tensor

from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products.compiled_blocks import codes, weight_gradients
from toolkit.dictionaries.sparse_products.compiled_selection import above
from toolkit.dictionaries.sparse_products.compiling import CACHE_LINE, Array, compiled, shared_out, threads_for
from toolkit.dictionaries.sparse_products.products import SparseProducts


@compiled
def _decode_loop(starts: Array, tokens: Array, codes: Array, W_dec: Array, out: Array, first: int, last: int) -> None:
    for latent in range(len(starts) - 1):
        row = W_dec[latent, first:last]
        for i in range(starts[latent], starts[latent + 1]):
            code, decoded = codes[i], out[tokens[i], first:last]
            for j in range(len(row)):
                decoded[j] += code * row[j]


def _decode(pattern: SparsePattern, codes: Tensor, W_dec: Tensor, start: Tensor) -> Tensor:
    width = start.shape[1]
    even = np.linspace(0, width, threads_for(len(codes) * width) + 1)[1:-1]
    lines = (even // CACHE_LINE * CACHE_LINE).astype(int).tolist()  # two threads write to none together
    bounds = [0, *lines, width]
    given = (pattern.starts, pattern.columns, codes, W_dec, start)
    shared_out(_decode_loop, [tensor.numpy() for tensor in given], bounds)
    return start


COMPILED = SparseProducts(name="compiled", above=above, codes=codes, decode=_decode, weight_gradients=weight_gradients)
