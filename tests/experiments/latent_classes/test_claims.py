"""Claims on made-up decoder rows: what distillation adds shows, and what scale, training or chance adds does not."""

from statistics import fmean

import torch

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.latent_scaling import latent_scaling
from toolkit.experiments.latent_classes.claims import claims
from toolkit.experiments.latent_classes.seeds import BothPairs, SeedClasses
from toolkit.latents.classification import classify
from toolkit.statistics.verdicts import judge

N_LATENTS, D_MODEL = 200, 16
LEAN_DISTILLED, LEAN_BASE, MORE, MORE_SURVIVE = range(4)


def one_crosscoder(seed: int, exclusive: int, scale: float = 1.0, lean: float = 0.0) -> SeedClasses:
    """About `exclusive` latents of either model alone; the last stream is `1 / scale` as large as training made it.

    `lean` lengthens the last model's rows by that share.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = {"d_model": D_MODEL, "models": ("base", "distilled"), "layers": (1,), "n_latents": N_LATENTS, "k": 1}
    made = Crosscoder(CrosscoderConfig(**shape, sparsity="l1", scale=(1.0, scale)))
    rows = torch.randn(N_LATENTS, 1, D_MODEL, generator=generator) * torch.ones(2, 1)
    rows[: exclusive + seed, 0] *= 0.05
    rows[100 : 100 + exclusive - seed, 1] *= 0.05
    rows[:, 1] *= 1 + lean + 0.01 * seed
    made.W_enc.copy_(rows)
    factors = torch.tensor([1.0, 1 / scale])[:, None]
    made.W_dec.copy_(rows * factors)
    x = torch.randn(400, 2, D_MODEL, generator=generator) * factors
    return SeedClasses(classes=classify(made, x), scaling=latent_scaling(made, x))


def both(own: list[SeedClasses], null: list[SeedClasses]) -> BothPairs:
    return BothPairs(seeds=dict(enumerate(own)), null=dict(enumerate(null)))


def shows(own: list[SeedClasses], null: list[SeedClasses]) -> list[bool]:
    return [verdict.shows for verdict in judge(claims(both(own, null)))]


def pair(exclusive: int, seeds: int = 3, **more: float) -> list[SeedClasses]:
    return [one_crosscoder(seed, exclusive, **more) for seed in range(seeds)]


def test_models_that_differ_by_a_factor_in_scale_alone_show_nothing():
    scaled = pair(5, scale=0.25)
    assert scaled[0].classes.mean_nrn.value > 0.7, "raw norms follow the scale"
    assert shows(scaled, pair(5)) == [False] * 4


def test_exclusive_latents_that_base_and_control_have_too_show_nothing():
    assert shows(pair(30), pair(30)) == [False] * 4


def test_many_more_exclusive_latents_than_between_base_and_control_show():
    assert shows(pair(60), pair(5))[MORE]


def test_a_lean_shows_in_its_direction_alone():
    assert shows(pair(5, lean=0.5), pair(5))[:2] == [True, False]
    assert shows(pair(5, lean=-0.4), pair(5))[:2] == [False, True]


def test_a_lean_that_the_null_pair_has_too_does_not_show():
    assert not any(shows(pair(5, lean=0.5), pair(5, lean=0.5)))


def test_one_seed_shows_nothing():
    assert shows(pair(60, seeds=1, lean=0.5), pair(5)) == [False] * 4


def test_without_a_null_pair_nothing_is_claimed():
    assert claims(both(pair(60), [])) == []


def test_survivors_are_a_claim_of_their_own():
    own = pair(60)
    *_, claim = claims(both(own, pair(5)))
    assert claim.name == "more distilled only latents that survive ν"
    assert claim.effect.value == fmean(each.survivors("distilled only") for each in own)
