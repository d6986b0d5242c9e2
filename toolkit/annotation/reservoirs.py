"""Random samples of fixed size, from streams of unknown length."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

Places = Int[Tensor, " new"]


class Reservoir:
    """Lines of samples: each line keeps the items with the largest keys of all that were offered to it.

    What an item is, its owner keeps in tensors of the shape of `keys`, and writes where `offer` says. Where keys are
    drawn evenly, each item of a line is as likely to be kept.
    """

    def __init__(self, lines: int, size: int) -> None:
        self.keys = torch.full((lines, size), -torch.inf)
        """Minus infinity in an empty place."""

    def offer(self, keys: Float[Tensor, "line item"]) -> tuple[Places, Places, Places]:
        """Keep the largest keys, old and new; an item with a key of minus infinity is not offered.

        Return the line, the place in the line, and the number of each item that is new.
        """
        size = self.keys.shape[1]
        both = torch.cat([self.keys, keys], dim=1)
        kept = torch.zeros_like(both, dtype=torch.bool).scatter_(1, both.topk(size, dim=1).indices, True)
        # A line has as many free places as new items, and both are listed line by line.
        line, place = (~kept[:, :size]).nonzero().unbind(dim=1)
        item = kept[:, size:].nonzero()[:, 1]
        offered = keys[line, item] > -torch.inf
        line, place, item = line[offered], place[offered], item[offered]
        self.keys[line, place] = keys[line, item]
        return line, place, item
