"""The layers at which models are cut and stitched."""

from collections.abc import Sequence

from toolkit.models.model.layers import check_layers
from toolkit.models.model.traced_model import TracedModel
from toolkit.stitching.moments import Cut

ALL_UP_TO, SPREAD = 8, 5
"""A model of up to 8 layers is cut at each of them by default, a deeper one at 5."""


def cuts_of(front: TracedModel, rest: TracedModel, layers: Sequence[int] = ()) -> list[Cut]:
    """Return cuts at these layers of the rest, each with the front's layer of like relative depth.

    Models of one depth are cut at the same layer. Default: every layer of a rest of up to 8, else 5 that are spread
    evenly. Raises `ValueError` for a layer that the rest does not have.
    """
    depth = rest.n_layers
    spread = range(depth) if depth <= ALL_UP_TO else [(2 * part + 1) * depth // (2 * SPREAD) for part in range(SPREAD)]
    return [(_like(layer, depth, front.n_layers), layer) for layer in check_layers(layers or spread, depth)]


def _like(layer: int, depth: int, other_depth: int) -> int:
    """The layer of a model of another depth that lies nearest in relative depth; the later one of two that do."""
    return min((2 * layer * other_depth + depth) // (2 * depth), other_depth - 1)
