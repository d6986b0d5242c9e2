"""A stitch is fitted by the name of its map, from the texts alone."""

from collections.abc import Callable

import pytest
import torch

from toolkit.harvest.harvesting import harvest_texts
from toolkit.models.pair import ModelPair
from toolkit.stitching.fitting import CLOSED_FORMS, fit_stitch

TEXTS = [" ".join(f"w{(7 * text + 3 * place) % 40}" for place in range(4 + text % 9)) for text in range(60)]


def test_a_mean_shift_moves_the_front_s_mean_to_the_rest_s(tiny_pair: ModelPair) -> None:
    found = fit_stitch(tiny_pair.base, tiny_pair.distilled, TEXTS, layer=1, front_layer=2, map="mean_shift")
    assert (found.layer, found.front_layer) == (1, 2)
    assert torch.equal(found.map.weight.cpu(), torch.eye(32))
    base, distilled = (
        harvest_texts(tiny_pair, TEXTS, layers=[layer])[model].mean(dim=0)
        for model, layer in (("base", 2), ("distilled", 1))
    )
    torch.testing.assert_close(found.map.bias, distilled - base, atol=0.05, rtol=0)  # a quarter of the texts chooses


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_a_model_stitched_to_itself_keeps_its_predictions(tiny_pair: ModelPair, name: str) -> None:
    model = tiny_pair.distilled
    stitched = fit_stitch(model, model, TEXTS, layer=2, map=name)
    torch.testing.assert_close(model.logits(TEXTS[:3], edit=stitched), model.logits(TEXTS[:3]), atol=1e-3, rtol=0)


def test_maps_of_one_width_are_refused_between_two(
    tiny_pair: ModelPair, save_organism_model: Callable[..., str]
) -> None:
    wide = ModelPair.from_pretrained(base=save_organism_model(seed=1), distilled=save_organism_model(seed=2)).base
    with pytest.raises(ValueError, match="orthogonal needs streams of one width, and the front has"):
        fit_stitch(wide, tiny_pair.distilled, TEXTS, layer=1, map="orthogonal")
