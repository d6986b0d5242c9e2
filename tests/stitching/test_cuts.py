from types import SimpleNamespace

import pytest

from toolkit.models.model.traced_model import TracedModel
from toolkit.stitching.cuts import cuts_of


def of_depth(n_layers: int) -> TracedModel:
    model = TracedModel.__new__(TracedModel)
    vars(model).update(n_layers=n_layers, source="tiny", depth=None, place=SimpleNamespace())
    return model


def test_models_of_one_depth_are_cut_at_the_same_layer() -> None:
    assert cuts_of(of_depth(6), of_depth(6)) == [(layer, layer) for layer in range(6)]
    assert cuts_of(of_depth(30), of_depth(30), [29, 3]) == [(29, 29), (3, 3)]


@pytest.mark.parametrize(("depth", "layers"), [(28, [2, 8, 14, 19, 25]), (9, [0, 2, 4, 6, 8])])
def test_a_deep_model_is_cut_at_five_layers_with_the_middle_among_them(depth: int, layers: list[int]) -> None:
    assert cuts_of(of_depth(depth), of_depth(depth)) == [(layer, layer) for layer in layers]
    assert depth // 2 in layers


def test_models_of_two_depths_are_cut_at_like_relative_depth() -> None:
    assert cuts_of(of_depth(3), of_depth(6)) == [(0, 0), (1, 1), (1, 2), (2, 3), (2, 4), (2, 5)]
    assert cuts_of(of_depth(12), of_depth(6), [0, 3, 5]) == [(0, 0), (6, 3), (10, 5)]


def test_a_layer_that_the_rest_does_not_have_is_refused() -> None:
    with pytest.raises(
        ValueError, match="layer 6 is out of range: the model has 6 decoder layers, so choose from 0 to 5"
    ):
        cuts_of(of_depth(12), of_depth(6), [6])
