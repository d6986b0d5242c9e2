"""Fits a map between two models' streams by its name, and makes a stitch of two models in one call."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import SupportsIndex

from toolkit.arguments import as_index
from toolkit.harvest.harvesting import ROW_LENGTH, Texts, batch_texts, open_mask
from toolkit.models.model.layers import check_layers
from toolkit.models.model.traced_model import TracedModel
from toolkit.stitching.closed_form import orthogonal, ridge
from toolkit.stitching.cuts import cuts_of
from toolkit.stitching.maps import AffineMap, identity_map, mean_shift
from toolkit.stitching.moments import CutMoments, read_moments
from toolkit.stitching.stitch import Stitch

CLOSED_FORMS: Mapping[str, Callable[[CutMoments], AffineMap]] = {
    "identity": lambda moments: identity_map(len(moments.fit.cross)),
    "mean_shift": lambda moments: mean_shift(moments.fit),
    "orthogonal": lambda moments: orthogonal(moments.fit),
    "ridge": lambda moments: ridge(moments.fit, moments.chosen_by),
}
"""Maps that follow from moments, by name."""
OF_ONE_WIDTH = ("identity", "mean_shift", "orthogonal")
"""Those that need streams of one width."""


def fit_stitch(
    front: TracedModel,
    rest: TracedModel,
    texts: Texts,
    *,
    layer: SupportsIndex,
    front_layer: SupportsIndex | None = None,
    map: str = "ridge",
) -> Stitch:
    """Fit a map between two models' streams on texts, and return the edit with which `rest` runs on from `front`.

    The front is stitched in at the input of the rest's `layer`, from the input of its own `front_layer` (default: the
    one of like relative depth). `map` is ridge, an affine map; orthogonal, a rotation about the means; mean_shift; or
    identity. The texts are as `harvest_texts` takes them, and are read with the tokenizer of `rest`; of every four the
    last chooses the ridge's penalty.
    Raises `ValueError` for a map or a layer that there is not, for streams of two widths where the map needs one, for
    models that read other ids, and for texts with too few tokens for a ridge of that width.
    """
    if map not in CLOSED_FORMS:
        raise ValueError(f"no map is called {map!r}: choose from {', '.join(CLOSED_FORMS)}")
    if front.d_model != rest.d_model and map in OF_ONE_WIDTH:
        raise ValueError(
            f"{map} needs streams of one width, and the front has {front.d_model}, the rest {rest.d_model}: fit a ridge"
        )
    if front.tokenizer.get_vocab() != rest.tokenizer.get_vocab():
        raise ValueError(
            f"{front.source} and {rest.source} have other vocabularies: open both with"
            " StitchableModels.from_pretrained, and give models of its reading()"
        )
    ((like, into),) = cuts_of(front, rest, [as_index(layer, "layer")])
    (out_of,) = check_layers(like if front_layer is None else front_layer, front.n_layers)
    length = min(ROW_LENGTH, front.context, rest.context)
    batches = chain.from_iterable(batch_texts(rest, texts, row_length=length))
    found = read_moments(front, rest, batches, open_mask(), [(out_of, into)])[out_of, into]
    return Stitch(front, CLOSED_FORMS[map](found), layer=into, front_layer=out_of)
