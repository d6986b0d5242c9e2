import pytest
import torch
from torch import Tensor

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.geometry.decoder_norms import nrn
from toolkit.latents.classification import LatentClasses, classify, classify_fired, norm_difference
from toolkit.statistics.estimates import GIVEN_ONE


def rows(*norms: tuple[float, float]) -> Tensor:
    """Decoder rows of the given norms, base and distilled, each along one axis, so that 1- and 2-norms agree."""
    W_dec = torch.zeros(len(norms), 2, 3)
    W_dec[:, :, 1] = torch.tensor(norms)
    return W_dec


def crosscoder_of(
    W_dec: Tensor, scale: tuple[float, ...] = (), models: tuple[str, ...] = ("base", "distilled")
) -> Crosscoder:
    """A crosscoder of these decoder rows in raw units, whose training scaled the streams by these factors."""
    n_latents, n_streams, d_model = W_dec.shape
    layers = tuple(range(1, n_streams // len(models) + 1))
    made = Crosscoder(
        CrosscoderConfig(
            d_model=d_model, models=models, layers=layers, n_latents=n_latents, sparsity="l1", k=1, scale=scale
        )
    )
    made.W_dec.copy_(W_dec)
    return made


def classes(
    W_dec: Tensor, fired: list[int] | None = None, mass: list[float] | None = None, scale: tuple[float, ...] = ()
) -> LatentClasses:
    return classify_fired(
        crosscoder_of(W_dec, scale),
        torch.tensor(fired or [1] * len(W_dec)),
        torch.tensor(mass or [1.0] * len(W_dec)),
        torch.Generator().manual_seed(0),
    )


SEVEN = rows((1, 0), (9, 1), (3, 1), (1, 1), (1, 2), (1, 4), (0, 2))


def test_both_scales_against_their_formulas():
    found = classes(SEVEN)
    assert found.nrn.tolist() == pytest.approx([0, 0.1, 0.25, 0.5, 2 / 3, 0.8, 1])
    assert found.rdn.tolist() == pytest.approx([0, 1 / 9, 1 / 3, 1, 2, 4, float("inf")], rel=1e-5)
    expected = [0.5 * ((a - b) / max(a, b) + 1) for a, b in ((1, 0), (9, 1), (3, 1), (1, 1), (1, 2), (1, 4), (0, 2))]
    assert found.norm_difference.tolist() == pytest.approx(expected)


def test_the_two_conventions_cut_where_they_say():
    found = classes(SEVEN)
    assert found.nrn_tags() == [
        "base only", "base only", "base only", "shared", "shared", "distilled only", "distilled only",
    ]  # fmt: skip
    assert found.norm_difference_tags() == [
        "base only", "base only", "between", "shared", "between", "between", "distilled only",
    ]  # fmt: skip


def test_norms_differ_between_the_conventions():
    W_dec = torch.zeros(2, 2, 4)
    W_dec[:, 0, 0] = 2  # 1-norm 2, 2-norm 2
    W_dec[:, 1] = 1  # 1-norm 4, 2-norm 2
    assert classes(W_dec).nrn.tolist() == pytest.approx([2 / 3, 2 / 3])
    assert norm_difference(W_dec).tolist() == pytest.approx([0.5, 0.5])


def test_a_latent_that_never_fired_is_dead_and_counts_in_no_mean():
    found = classes(SEVEN, fired=[0, 5, 0, 1, 0, 0, 1], mass=[0.0, 3.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    assert found.alive.tolist() == [False, True, False, True, False, False, True]
    assert [tag == "dead" for tag in found.nrn_tags()] == [not alive for alive in found.alive]
    assert found.norm_difference_tags()[0] == "dead"
    assert found.mean_nrn.value == pytest.approx((0.1 + 0.5 + 1) / 3)
    assert found.mean_nrn.note == "3 latents: an interval needs 8"
    assert found.mean_nrn_weighted == pytest.approx((3 * 0.1 + 0.5) / 4)
    assert len(found.cosine_null) == 3


def test_layers_of_one_model_count_as_one_row():
    generator = torch.Generator().manual_seed(1)
    W_dec = torch.randn(5, 4, 6, generator=generator)  # base@1, base@2, distilled@1, distilled@2
    joined = torch.stack([W_dec[:, :2].flatten(1), W_dec[:, 2:].flatten(1)], dim=1)
    several, one = classes(W_dec), classes(joined)
    assert torch.equal(several.nrn, one.nrn)
    assert torch.equal(several.cosine, one.cosine)


def test_models_that_differ_in_scale_alone_lean_toward_neither():
    row = torch.randn(40, 1, 6, generator=torch.Generator().manual_seed(2))
    W_dec = torch.cat([row, 4 * row], dim=1)  # the distilled model is the base model times four
    found = classes(W_dec, scale=(1.0, 0.25))
    assert found.neutral == pytest.approx(0.8)
    assert found.mean_nrn.value == pytest.approx(found.neutral)
    assert found.nrn_training_units.tolist() == pytest.approx([0.5] * 40)
    assert set(found.nrn_tags()) == {"distilled only"}, "raw norms follow the scale of the streams"
    assert set(found.training_units_tags()) == {"shared"}
    assert "neutral 0.800" in repr(found)
    assert found.scales_recorded


def test_rows_that_training_made_unequal_keep_their_lean_whatever_the_scale():
    plain = classes(SEVEN)
    scaled = classes(SEVEN / torch.tensor([2.0, 0.5])[:, None], scale=(2.0, 0.5))
    torch.testing.assert_close(scaled.nrn_training_units, plain.nrn)
    assert scaled.training_units_tags() == plain.nrn_tags()
    assert scaled.mean_nrn_training_units.value == pytest.approx(plain.mean_nrn.value)


def test_the_neutral_point_counts_every_layer_of_a_model():
    scale = (1.0, 0.5, 0.25, 0.2)  # base@1, base@2, distilled@1, distilled@2
    row = torch.ones(10, 4, 3) / torch.tensor(scale)[:, None]
    found = classes(row, scale=scale)
    assert found.neutral == pytest.approx((4 + 5) / (1 + 2 + 4 + 5))
    assert found.nrn.tolist() == pytest.approx([found.neutral] * 10)
    assert found.nrn_training_units.tolist() == pytest.approx([0.5] * 10)


def test_without_recorded_scales_the_middle_is_neutral_and_raw_units_are_all_there_is():
    found = classes(SEVEN)
    assert found.neutral == 0.5
    assert not found.scales_recorded
    assert torch.equal(found.nrn_training_units, found.nrn)


def test_an_interval_over_latents_says_that_it_knows_one_crosscoder():
    found = classes(torch.rand(20, 2, 5, generator=torch.Generator().manual_seed(4)))
    assert found.mean_nrn.low < found.mean_nrn.value < found.mean_nrn.high
    assert found.mean_nrn.note == found.mean_nrn_training_units.note == GIVEN_ONE


def test_fewer_than_two_alive_latents_are_refused():
    with pytest.raises(ValueError, match="1 latents make no pair"):
        classes(SEVEN, fired=[1, 0, 0, 0, 0, 0, 0])


def test_activations_say_which_latents_are_alive(random_crosscoder):
    crosscoder = random_crosscoder()
    crosscoder.W_enc[3], crosscoder.b_enc[3] = 0, -1
    x = torch.randn(200, 2, 32, generator=torch.Generator().manual_seed(0))
    classes = classify(crosscoder, x)
    fired = (crosscoder.encode(x) > 0).any(dim=0)
    assert torch.equal(classes.alive, fired)
    assert classes.nrn_tags()[3] == "dead"
    assert torch.equal(classes.nrn, nrn(crosscoder.W_dec))


def test_of_three_models_two_are_compared_by_name():
    W_dec = torch.zeros(7, 3, 3)
    W_dec[:, [0, 2]] = SEVEN
    W_dec[:, 1, 0] = 1
    fired, mass = torch.ones(7, dtype=torch.int64), torch.ones(7)

    def found(*compared: str) -> LatentClasses:
        made = crosscoder_of(W_dec, models=("base", "control", "distilled"))
        return classify_fired(made, fired, mass, torch.Generator().manual_seed(0), compared=compared or None)

    assert torch.equal(found().nrn, classes(SEVEN).nrn)
    torch.testing.assert_close(found("distilled", "base").nrn, 1 - found().nrn)
    assert set(found("base", "control").nrn_tags()) == {"base only", "shared", "control only"}
    for compared in (("base", "teacher"), ("base", "base")):
        with pytest.raises(ValueError, match="cannot be compared: give two of base, control, distilled"):
            found(*compared)


def test_it_says_in_two_lines_how_many_latents_are_whose():
    first, second = repr(classes(SEVEN, fired=[1, 1, 1, 1, 1, 0, 1])).splitlines()
    assert first == "7 latents by NRN: 3 base only, 2 shared, 1 distilled only, 0 between, 1 dead"
    assert second.startswith("mean NRN 0.419 (6 latents: an interval needs 8)")
