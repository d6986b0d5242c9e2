"""Which implementation of the sparse products a training step takes."""

import torch

from toolkit.dictionaries.configs import Kernels
from toolkit.dictionaries.sparse_products.ordered import ORDERED
from toolkit.dictionaries.sparse_products.plain import PLAIN
from toolkit.dictionaries.sparse_products.products import SparseProducts


def products_for(device: torch.device, kernels: Kernels = "auto") -> SparseProducts:
    """Return the implementation for weights on this device; auto is what is known to be fastest there."""
    return ORDERED if kernels == "ordered" else PLAIN
