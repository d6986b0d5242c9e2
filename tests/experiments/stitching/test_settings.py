"""Settings of stitching refuse what cannot be measured."""

from typing import Any

import pytest

from toolkit.experiments.stitching import StitchingConfig


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cuts": (1, 3, 1)}, "cuts 1 3 1: give each once"),
        ({"cuts": (-1,)}, "cuts -1: give a layer, from 0 on"),
        ({"maps": ("ridge", "ridge")}, "maps ridge ridge: give each once"),
        ({"maps": ()}, "no map is left to try"),
        ({"maps": ("trained",), "steps": 0}, "no map is left to try"),
        ({"documents": 7}, "documents 7: an interval needs at least 8"),
        ({"tokens": 0}, "tokens 0: must be at least 1"),
        ({"n_problems": -1}, "n_problems -1: must be at least 0, which switches it off"),
    ],
)
def test_what_cannot_be_measured_is_refused(given: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        StitchingConfig(**given)


def test_the_page_and_every_number_are_written_to_one_folder():
    [folder] = StitchingConfig().outputs()
    assert str(folder.path) == "runs/stitch"
    assert {"stitching.html", "stitching.json", "results.json"} <= set(folder.patterns)
