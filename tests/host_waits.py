"""Counts how often the CPU waits for what the pretended device still has to do."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_COUNTING = ("_local_scalar_dense", "nonzero", "masked_select")
"""Operations whose result the CPU needs to know before it goes on."""


class HostWaits(TorchDispatchMode):
    """While active, counts waits by operation: numbers that are asked for, masks as indices, copies either way."""

    def __init__(self, away: torch.device) -> None:
        super().__init__()
        self._away = away
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options, name = options or {}, function.overloadpacket.__name__
        found = function(*arguments, **options)
        tensors = [each for each in tree_leaves((arguments, found)) if isinstance(each, Tensor)]
        there = [each for each in tensors if each.device.type == self._away.type]
        copies = name in ("_to_copy", "copy_") and len(there) < len(tensors)
        asynchronous = options.get("non_blocking") or (name == "copy_" and len(arguments) > 2 and arguments[2])
        by_mask = name.startswith("index") and any(
            isinstance(each, Tensor) and each.dtype == torch.bool for each in tree_leaves(arguments[1:2])
        )
        if there and (name in _COUNTING or (copies and not asynchronous) or by_mask):
            self.counts[name] += 1
        return found
