"""The experiments' edits against sums written out."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.interventions.edits import (
    latents_part,
    mean_norm,
    move_toward,
    shift,
    splice,
    steer,
    stream_index,
    subtract,
)


@pytest.fixture
def crosscoder(random_crosscoder) -> Crosscoder:
    return random_crosscoder(d_model=4, n_latents=6, scale=(0.5, 0.25))


def test_steering_adds_the_unit_row_in_units_of_the_mean_norm(crosscoder):
    residual = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    edit = steer(crosscoder, latent=5, strength=-0.3)
    row = crosscoder.W_dec[5, 1]
    assert edit.layer == 2
    torch.testing.assert_close(edit(residual), residual - 0.3 * (math.sqrt(4) / 0.25) * row / row.norm())
    base = steer(crosscoder, latent=5, strength=1.0, model="base")(residual) - residual
    torch.testing.assert_close(base[0, 0].norm(), torch.tensor(mean_norm(crosscoder, 0)))


def test_several_latents_steer_along_the_sum_of_their_unit_rows(crosscoder):
    rows = torch.nn.functional.normalize(crosscoder.W_dec[[1, 2], 1], dim=1).sum(dim=0)
    moved = steer(crosscoder, latent=[1, 2], strength=1.0)(torch.zeros(1, 1, 4))[0, 0]
    torch.testing.assert_close(moved, mean_norm(crosscoder, 1) * rows / rows.norm())


@pytest.mark.parametrize(
    "latent", [0, np.int64(0), torch.tensor(0), [0], torch.tensor([0]), (0, 0), range(1)], ids=repr
)
@pytest.mark.parametrize("strength", [2, np.float32(2), torch.tensor(2.0)], ids=repr)
def test_latents_and_strengths_come_as_notebooks_have_them(crosscoder, latent, strength):
    residual = torch.zeros(1, 1, 4)
    assert torch.equal(
        steer(crosscoder, latent=latent, strength=strength, layer=np.int64(2))(residual),
        steer(crosscoder, latent=0, strength=2.0)(residual),
    )


@pytest.mark.parametrize("strength", [math.nan, math.inf])
def test_a_strength_must_be_finite(crosscoder, strength):
    with pytest.raises(ValueError, match=f"strength {strength} is not finite"):
        steer(crosscoder, latent=0, strength=strength)


def test_latents_and_streams_that_do_not_exist_are_named(crosscoder):
    with pytest.raises(ValueError, match="latent 6 does not exist: the crosscoder has latents 0 to 5"):
        steer(crosscoder, latent=6, strength=0.1)
    with pytest.raises(ValueError, match="no latent is named"):
        steer(crosscoder, latent=[], strength=0.1)
    with pytest.raises(ValueError, match="no stream of 'control' at layer 2"):
        stream_index(crosscoder, "control")
    with pytest.raises(ValueError, match="at layer 3"):
        stream_index(crosscoder, layer=3)


def test_streams_are_ordered_by_model_then_layer(crosscoder):
    several = Crosscoder(replace(crosscoder.config, layers=(2, 5), scale=()))
    assert [stream_index(several, m, layer) for m in ("base", "distilled") for layer in (2, 5)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="name the one to edit"):
        stream_index(several)
    with pytest.raises(ValueError, match="does not record the scale"):
        mean_norm(several, 0)


def test_splice_and_subtract_act_on_the_chosen_tokens():
    residual = torch.ones(2, 3, 4)
    where = torch.tensor([[False, True, False], [True, False, True]])
    values = torch.arange(1.0, 4.0)[:, None].expand(3, 4)
    assert splice(1, values, where)(residual)[..., 0].tolist() == [[1, 1, 1], [2, 1, 3]]
    assert subtract(1, values, where)(residual)[..., 0].tolist() == [[1, 0, 1], [-1, 1, -2]]
    assert shift(np.int64(1), torch.ones(4))(residual)[..., 0].tolist() == [[2, 2, 2], [2, 2, 2]]
    assert shift(1, torch.ones(2, 4))(residual)[..., 0].tolist() == [[2, 2, 2], [2, 2, 2]]


def test_the_stream_moves_a_share_of_its_way_to_a_point():
    residual = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    point = torch.tensor([1.0, -2.0, 0.0, 3.0])
    for share in (-0.5, 0.0, 0.25, 1.0):
        torch.testing.assert_close(move_toward(1, point, share)(residual), residual + share * (point - residual))
    where = torch.tensor([[False, True, False], [True, False, True]])
    moved = move_toward(1, point, 1.0).only(where)(residual)
    assert torch.equal(moved[~where], residual[~where])
    torch.testing.assert_close(moved[where], point.expand(3, 4))


def test_what_latents_write_is_a_sum_over_them(crosscoder):
    codes = torch.rand(3, 6, generator=torch.Generator().manual_seed(2))
    chosen = torch.tensor([0, 4])
    naive = sum(codes[:, k, None] * crosscoder.W_dec[k, 1] for k in chosen.tolist())
    torch.testing.assert_close(latents_part(crosscoder, codes, chosen, 1), naive)
