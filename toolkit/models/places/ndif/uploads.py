"""How much one job sends."""

from collections.abc import Sequence

UPLOAD = 900_000
"""Bytes that one job sends where it can be made so small: servers of NDIF's have refused uploads above 1 MB."""


def stretches(sizes: Sequence[int], limit: int) -> list[slice]:
    """Neighbours that have at most `limit` together, or stand alone; one empty stretch where there is nothing."""
    found, start, held = [], 0, 0
    for index, size in enumerate(sizes):
        if index > start and held + size > limit:
            found.append(slice(start, index))
            start, held = index, 0
        held += size
    return [*found, slice(start, len(sizes))]
