import pytest

from toolkit.models.places.place import stretches


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], [[]]),
        ([3], [[3]]),
        ([4, 4, 2, 1, 9], [[4, 4, 2], [1, 9]]),
        ([11, 1, 12, 13], [[11], [1], [12], [13]]),
        ([0, 0, 10, 0, 1], [[0, 0, 10, 0], [1]]),
    ],
)
def test_neighbours_stay_together_within_the_limit(sizes: list[int], expected: list[list[int]]) -> None:
    assert [sizes[stretch] for stretch in stretches(sizes, 10)] == expected
    assert stretches(sizes, None) == [slice(0, len(sizes))]
