from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.latent_scaling import LatentScaling, ScalingRatios, latent_scaling


@pytest.fixture
def crosscoder(random_crosscoder) -> Callable[..., Crosscoder]:
    """Random, but for its decoder rows; a third of the codes are above the threshold."""

    def make(W_dec: Tensor, layers: tuple[int, ...] = (3,)) -> Crosscoder:
        n_latents, n_streams, d_model = W_dec.shape
        assert n_streams == 2 * len(layers)
        made = random_crosscoder(d_model=d_model, layers=layers, n_latents=n_latents, sparsity="batchtopk")
        made.W_dec.copy_(W_dec)
        made.threshold.fill_(4.0)
        return made

    return make


def measured(crosscoder: Crosscoder, batches: Iterable[Tensor]) -> ScalingRatios:
    scaling = LatentScaling(crosscoder)
    for x in batches:
        scaling.add(x, crosscoder.encode(x))
    return scaling.ratios()


def random_rows(n_latents: int = 20, n_streams: int = 2, d_model: int = 6) -> Tensor:
    return torch.randn(n_latents, n_streams, d_model, generator=torch.Generator().manual_seed(1))


def naive_factor(codes: Tensor, direction: Tensor, target: Tensor) -> float:
    """Least squares of target[token, d] on f[token] d, one unknown."""
    design = (codes[:, None] * direction).flatten()[:, None].double()
    return torch.linalg.lstsq(design, target.flatten()[:, None].double()).solution.item()


@pytest.mark.parametrize("layers", [(3,), (1, 3)])
def test_all_latents_at_once_equal_least_squares_one_by_one(crosscoder, layers):
    made = crosscoder(random_rows(n_streams=2 * len(layers)), layers)
    x = 3 * torch.randn(200, 2 * len(layers), 6, generator=torch.Generator().manual_seed(2)) + 1
    ratios = measured(made, x.split(37))
    codes, decoded = made.encode(x), made(x)
    assert 0.02 < (codes > 0).float().mean() < 0.5
    by_model = made.W_dec.unflatten(1, (2, -1)).flatten(2)
    models = range(2)
    for k in range(20):
        own = int(by_model[k, 1].norm() > by_model[k, 0].norm())
        direction, f = by_model[k, own], codes[:, k]
        targets = [(t.unflatten(1, (2, -1)).flatten(2)) for t in (x - decoded, decoded)]
        error = [naive_factor(f, direction, targets[0][:, m] + f[:, None] * by_model[k, m]) for m in models]
        whole = [naive_factor(f, direction, targets[1][:, m]) for m in models]
        assert ratios.own[k] == own
        assert ratios.beta_error[k].tolist() == pytest.approx(error, rel=1e-4, abs=1e-5)
        assert ratios.beta_reconstruction[k].tolist() == pytest.approx(whole, rel=1e-4, abs=1e-5)
        assert ratios.nu_error[k].item() == pytest.approx(error[1 - own] / error[own], rel=1e-3, abs=1e-4)
        assert ratios.nu_reconstruction[k].item() == pytest.approx(whole[1 - own] / whole[own], rel=1e-3, abs=1e-4)


def planted(crosscoder: Callable[..., Crosscoder], base_share: float) -> ScalingRatios:
    """Latent 0's row is zero for the base model, which holds `base_share` of the feature all the same.

    Latents 1 and 2 are the base's alone, one a twin that fires where latent 0 does, and one unrelated.
    """
    W_dec = torch.zeros(3, 2, 6)
    W_dec[0, 1, 0] = 1
    W_dec[1, 0, 1] = W_dec[2, 0, 2] = 1
    made = crosscoder(W_dec)
    made.W_enc.copy_(W_dec * 5)
    made.b_enc.zero_()
    made.b_dec.zero_()
    made.threshold.zero_()
    feature = torch.rand(400, generator=torch.Generator().manual_seed(3))
    x = torch.zeros(400, 2, 6)
    x[:, 1, 0], x[:, 0, 0] = feature, base_share * feature
    made.W_dec /= 5  # so that encoding and decoding undo each other
    x[:200, 0, 1] = feature[:200]
    x[200:, 0, 2] = feature[200:]
    return measured(made, [x])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
def test_what_a_shrunk_row_hides_is_seen_in_the_error(crosscoder, share):
    ratios = planted(crosscoder, share)
    assert ratios.nu_error[0].item() == pytest.approx(share, abs=1e-5)
    assert ratios.nu_reconstruction[0].item() == pytest.approx(0, abs=1e-5)
    assert bool(ratios.survives[0]) == (share < 0.2)


def test_a_latent_split_in_two_is_seen_in_the_reconstruction(crosscoder):
    W_dec = torch.zeros(2, 2, 4)
    W_dec[0, 1, 0] = W_dec[1, 0, 0] = 1  # one feature, one latent a model, which fire together
    made = crosscoder(W_dec)
    made.W_enc.copy_(W_dec)
    for tensor in (made.b_enc, made.b_dec, made.threshold):
        tensor.zero_()
    feature = torch.rand(100, generator=torch.Generator().manual_seed(4))
    x = torch.zeros(100, 2, 4)
    x[:, 0, 0], x[:, 1, 0] = 0.7 * feature, feature
    ratios = measured(made, [x])
    assert ratios.nu_error.tolist() == pytest.approx([0, 0], abs=1e-5)
    assert ratios.nu_reconstruction.tolist() == pytest.approx([0.7, 1 / 0.7], rel=1e-5)
    assert ratios.survives.tolist() == [False, False]


def test_a_factor_between_the_models_streams_changes_nothing(random_crosscoder):
    plain, scaled = random_crosscoder(scale=(1.0, 1.0)), random_crosscoder(scale=(1.0, 1 / 8))
    factor = torch.tensor([1.0, 8.0])[:, None]
    scaled.W_dec, scaled.b_dec = plain.W_dec * factor, plain.b_dec * factor
    x = torch.randn(200, 2, 32, generator=torch.Generator().manual_seed(2))
    codes = plain.encode(x)
    first, second = LatentScaling(plain), LatentScaling(scaled)
    first.add(x, codes)
    second.add(x * factor, codes)  # the distilled model is eight times as large, and nothing else
    assert torch.equal(second.ratios().own, first.ratios().own)
    assert len(first.ratios().own.unique()) == 2
    for name in ("nu_error", "nu_reconstruction"):
        torch.testing.assert_close(getattr(second.ratios(), name), getattr(first.ratios(), name), equal_nan=True)


def test_a_latent_that_never_fired_has_no_ratio_and_does_not_survive(crosscoder):
    made = crosscoder(random_rows())
    made.W_enc[4], made.b_enc[4] = 0, -1
    x = torch.randn(100, 2, 6, generator=torch.Generator().manual_seed(2)) * 3
    ratios = measured(made, [x])
    assert ratios.nu_error[4].isnan()
    assert ratios.nu_reconstruction[4].isnan()
    assert not ratios.survives[4]


def test_one_call_takes_activations_and_names_the_models(crosscoder):
    made = crosscoder(random_rows())
    x = 3 * torch.randn(200, 2, 6, generator=torch.Generator().manual_seed(2)) + 1
    ratios = latent_scaling(made, x)
    torch.testing.assert_close(ratios.nu_error, measured(made, [x]).nu_error, equal_nan=True)
    assert ratios.models == ("base", "distilled")
    assert {ratios.models[place] for place in ratios.own.tolist()} == {"base", "distilled"}
    with pytest.raises(ValueError, match=r"activations of shape \(9, 3, 6\)"):
        latent_scaling(made, torch.zeros(9, 3, 6))


def test_of_three_models_any_two_are_compared(random_crosscoder):
    three, two = random_crosscoder(models=("a", "b", "c"), layers=(2, 3)), random_crosscoder(layers=(2, 3))
    x = torch.randn(50, 6, 32, generator=torch.Generator().manual_seed(0))
    places, codes = [0, 1, 4, 5], three.encode(x)
    two.W_dec, two.b_dec = three.W_dec[:, places], three.b_dec[places]
    alone, among = LatentScaling(two), LatentScaling(three, ("a", "c"))
    alone.add(x[:, places], codes)
    among.add(x, codes)
    torch.testing.assert_close(among.ratios().nu_error, alone.ratios().nu_error, equal_nan=True)
    assert latent_scaling(three, x, compared=("c", "b")).models == ("c", "b")
    for wrong in (("a", "a"), ("a", "d")):
        with pytest.raises(ValueError, match=f"these are {' and '.join(wrong)}: give two of a, b, c"):
            latent_scaling(three, x, compared=wrong)


def test_it_says_in_two_lines_what_it_found(random_crosscoder):
    said = repr(latent_scaling(random_crosscoder(), torch.randn(50, 2, 32, generator=torch.Generator().manual_seed(0))))
    assert said.startswith("ScalingRatios of 12 latents, ")
    assert said.count("\n") == 1
