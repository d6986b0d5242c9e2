"""A crosscoder of other streams than the pair's is refused, and both are named."""

from dataclasses import replace

import pytest

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.interventions.edits import check_match


def test_the_pairs_own_crosscoder_matches(tiny_pair, crosscoder):
    check_match(tiny_pair, crosscoder)
    named = Crosscoder(replace(crosscoder.config, sources=tiny_pair.origins))
    check_match(tiny_pair, named)


def test_another_width_depth_or_number_of_models(tiny_pair, crosscoder):
    def error(**changes: object) -> str:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - what it says is checked below
            check_match(tiny_pair, Crosscoder(replace(crosscoder.config, **changes)))
        return str(caught.value)

    said = error(d_model=48)
    assert "width 48" in said
    assert "width 32" in said
    assert all(origin in said for origin in tiny_pair.origins)
    said = error(layers=(1, 3))
    assert "(1, 3)" in said
    assert "(2,)" in said
    said = error(layers=(2, 4))
    assert "layer 4 is out of range" in said
    assert f"{' and '.join(tiny_pair.origins)} have 4 layers" in said
    assert "reads 3 models" in error(models=("a", "b", "c"))


def test_other_models_must_be_asked_for(tiny_pair, crosscoder):
    other = Crosscoder(replace(crosscoder.config, sources=("theirs/base", "theirs/distilled")))
    with pytest.raises(ValueError, match=r"theirs/base and theirs/distilled, but .*--other-models") as caught:
        check_match(tiny_pair, other)
    assert all(origin in str(caught.value) for origin in tiny_pair.origins)
    check_match(tiny_pair, other, other_models=True)
