"""Sites and depth fit together; shapes, vocabularies and settings are tested through the pair."""

import pytest

from toolkit.models.compatibility import check_sites


def test_sites_up_to_the_depth_are_taken() -> None:
    assert check_sites((1, 3), 3, 4) == (1, 3)
    assert check_sites(range(1, 4, 2), None, 4) == (1, 3)
    assert check_sites(0, 0, 4) == (0,)


@pytest.mark.parametrize(
    ("layers", "depth", "message"),
    [
        ((1, 3), 2, "depth 2 leaves out layer 3, which is to be read"),
        ((1, 4), None, "layer 4 is out of range: the model has 4"),
        ((1, 3, 1), None, "layer 1 is named twice: name each site once"),
        ((1,), 0, "depth 0 leaves out layer 1"),
        ((1,), 4, "layer 4 is out of range: the model has 4"),
    ],
)
def test_sites_that_cannot_be_read(layers: tuple[int, ...], depth: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_sites(layers, depth, 4)
