"""Groups rows of ids of similar length into batches, and pads them to one length."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def by_length(lengths: Sequence[int], batch_tokens: int, *, shortest_first: bool = False) -> list[list[int]]:
    """Return the indices of rows in batches of at most `batch_tokens` tokens, padding included; a longer row is alone.

    The longest row comes first, and of equal ones the first.
    """
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place], reverse=not shortest_first):
        longest = max(lengths[place], lengths[batches[-1][0]]) if batches else 0
        if not batches or (len(batches[-1]) + 1) * longest > batch_tokens:
            batches.append([])
        batches[-1].append(place)
    return batches


def by_rows(lengths: Sequence[int], batch_rows: int) -> list[list[int]]:
    """Return the indices of rows in batches of just `batch_rows` rows of similar length, the longest first.

    The shortest rows, fewer than a batch, are left out.
    """
    order = sorted(range(len(lengths)), key=lambda place: lengths[place], reverse=True)
    return [order[start : start + batch_rows] for start in range(0, len(order) - batch_rows + 1, batch_rows)]


def padded(
    rows: Sequence[Sequence[int] | Tensor], filler: int = 0, *, left: bool = False
) -> tuple[Int[Tensor, "row position"], Int[Tensor, "row position"]]:
    """Return rows padded to the longest one's length, on the right or on the `left`, and their mask."""
    side = "left" if left else "right"
    tensors = [torch.as_tensor(row, dtype=torch.long) for row in rows]
    ids = pad_sequence(tensors, batch_first=True, padding_value=filler, padding_side=side)
    mask = pad_sequence([torch.ones_like(row) for row in tensors], batch_first=True, padding_side=side)
    return ids, mask


def first_tokens(attention_mask: Int[Tensor, "row position"]) -> Bool[Tensor, "row position"]:
    """Return where the first token of each row stands, behind padding on the left where there is some."""
    attended = attention_mask.bool()
    return attended & (attended.cumsum(dim=1) == 1)


def unpadded(attention_mask: Int[Tensor, "row position"]) -> Int[Tensor, "row position"]:
    """Return a mask that hides nothing where all padding stands on the right, else the mask as it is.

    Tokens see only what stands before them, so they are computed alike; but where nothing is hidden, attention runs in
    kernels that need no mask in memory and skip what comes later.
    """
    hides_what_is_seen = (attention_mask[:, 1:] > attention_mask[:, :-1]).any()
    return attention_mask if hides_what_is_seen else torch.ones_like(attention_mask)
