"""The methods: each makes units of a pair's running text, and gives every labelled token a score for each of them.

Another method is one more entry in `METHODS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.rules import Sparsity
from toolkit.dictionaries.train_crosscoder import train_crosscoder
from toolkit.experiments.compare_methods import CompareMethodsConfig
from toolkit.experiments.compare_methods.reading import LAST, PairText, RunningText, difference
from toolkit.training.costs import dictionary_parameters

CLAIMED_NRN = 0.55
"""A crosscoder says of a latent with a larger NRN, in units of training, that it is the last model's, not both's.
At .5 both rows are of one norm; the null pair shows what this margin is worth."""
EXCLUSIVE_SHARE = 16
"""One latent in so many is designated as exclusive, for each model."""
DIFFERENCE_WEIGHT = 4.0
COMPONENTS = 64
FIRST_POSITIONS = 5
ENCODED_TOGETHER = 8192


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """What a method made of one pair."""

    score: Callable[[PairText], Float[Tensor, "token unit"]]
    """Scores of labelled tokens, perhaps sparse."""
    directions: Float[Tensor, "unit d_model"] | None
    """Of each unit its direction in the last model's stream, of any length; None where a unit has none."""
    claimed: Bool[Tensor, " unit"] | None
    """Units that the method says are the last model's own, or more its own than the first one's; None for all."""
    parameters: int
    """Numbers that the method keeps."""


Plan = TrainingConfig | None
"""How a dictionary is trained; None for a method that has nothing to choose."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """One way to find what distillation changed."""

    about: str
    """What a unit is and which of them the method calls the last model's, in a sentence."""
    fit: Callable[[RunningText, TrainingConfig, int], Units]
    """Units of a pair's running text, a plan and a seed."""
    plans: Callable[[CompareMethodsConfig, TrainingConfig], Sequence[TrainingConfig]] = lambda settings, common: [
        common
    ]
    """What it is tried with; a method without any choice gets the common plan and does not look at it."""
    has_seeds: bool = False
    """Whether another seed gives other units."""
    dense: bool = False
    """Whether a unit has a score everywhere, not only where it fires: random directions are then its floor too."""


def _kept(sparsity: Sparsity) -> Callable[[CompareMethodsConfig, TrainingConfig], list[TrainingConfig]]:
    def plans(settings: CompareMethodsConfig, common: TrainingConfig) -> list[TrainingConfig]:
        return [
            replace(common, sparsity=sparsity, n_latents=n, k=k) for n, k in product(settings.n_latents, settings.k)
        ]

    return plans


def _l1(settings: CompareMethodsConfig, common: TrainingConfig) -> list[TrainingConfig]:
    plan = replace(common, sparsity="l1", k=1)
    pairs = product(settings.n_latents, settings.l1_coefficient)
    return [replace(plan, n_latents=n, sparsity_coefficient=weight) for n, weight in pairs]


def _jumprelu(settings: CompareMethodsConfig, common: TrainingConfig) -> list[TrainingConfig]:
    plan = replace(common, sparsity="jumprelu", k=1, sparsity_coefficient=1.0)
    pairs = product(settings.n_latents, settings.jumprelu_threshold)
    return [
        replace(plan, n_latents=n, jumprelu_threshold=threshold, jumprelu_bandwidth=threshold) for n, threshold in pairs
    ]


def _exclusive(settings: CompareMethodsConfig, common: TrainingConfig) -> list[TrainingConfig]:
    plans = _kept("batchtopk")(settings, common)
    return [replace(plan, n_exclusive=plan.n_latents // EXCLUSIVE_SHARE) for plan in plans]


def _delta(settings: CompareMethodsConfig, common: TrainingConfig) -> list[TrainingConfig]:
    return [replace(plan, difference_weight=DIFFERENCE_WEIGHT) for plan in _kept("batchtopk")(settings, common)]


def _crosscoder(text: RunningText, plan: TrainingConfig, seed: int) -> Units:
    crosscoder = train_crosscoder(text.activations, plan, seed=seed)
    norms = crosscoder.decoder_norms() * text.scale
    return Units(
        score=lambda seen: _codes(crosscoder, seen.labelled.activations),
        directions=crosscoder.W_dec[:, LAST],
        claimed=norms[:, LAST] / norms.sum(dim=1).clamp(min=torch.finfo(norms.dtype).tiny) > CLAIMED_NRN,
        parameters=dictionary_parameters(plan, crosscoder.b_dec.numel()),
    )


def _of_distilled(text: RunningText, plan: TrainingConfig, seed: int) -> Units:
    autoencoder = train_crosscoder(text.activations[:, LAST:], plan, seed=seed)
    return _autoencoder(autoencoder, plan, lambda seen: seen.labelled.activations[:, LAST:])


def _of_difference(text: RunningText, plan: TrainingConfig, seed: int) -> Units:
    autoencoder = train_crosscoder(difference(text.activations, text.scale)[:, None], plan, seed=seed)
    return _autoencoder(autoencoder, plan, lambda seen: seen.difference()[:, None])


def _autoencoder(dictionary: Crosscoder, plan: TrainingConfig, read: Callable[[PairText], Tensor]) -> Units:
    return Units(
        score=lambda seen: _codes(dictionary, read(seen)),
        directions=dictionary.W_dec[:, 0],
        claimed=None,
        parameters=dictionary_parameters(plan, dictionary.b_dec.numel()),
    )


def _codes(dictionary: Crosscoder, x: Float[Tensor, "token stream d_model"]) -> Float[Tensor, "token latent"]:
    return torch.cat([dictionary.encode(some).to_sparse() for some in x.split(ENCODED_TOGETHER)])


def _components(text: RunningText, _plan: TrainingConfig, _seed: int) -> Units:
    changed = difference(text.activations, text.scale)
    centred = changed - changed.mean(dim=0)
    _, vectors = torch.linalg.eigh(centred.t() @ centred)  # the largest eigenvalue last
    return _projections(vectors.flip(1)[:, :COMPONENTS].t())


def _mean(text: RunningText, _plan: TrainingConfig, _seed: int) -> Units:
    return _projections(difference(text.activations, text.scale).mean(dim=0, keepdim=True))


def first_means(text: RunningText) -> Float[Tensor, "position d_model"]:
    """Return the mean difference at each of the first positions that count, of those that have tokens."""
    changed = difference(text.activations, text.scale)
    at = [text.position == position for position in range(1, 1 + FIRST_POSITIONS)]
    return torch.stack([changed[here].mean(dim=0) for here in at if here.any()])


def _first_positions(text: RunningText, _plan: TrainingConfig, _seed: int) -> Units:
    return _projections(first_means(text))


def _projections(directions: Float[Tensor, "direction d_model"]) -> Units:
    """Both ends of each direction, as far as the difference of activations points there."""
    both = torch.cat([directions, -directions])
    return Units(
        score=lambda seen: seen.difference() @ both.t(), directions=both, claimed=None, parameters=directions.numel()
    )


def _predictions(_text: RunningText, _plan: TrainingConfig, _seed: int) -> Units:
    return Units(score=lambda seen: seen.changes, directions=None, claimed=None, parameters=0)


_NRN = f"a latent; the last model's where its NRN in training units is above {CLAIMED_NRN:g}"
DEFAULT = "crosscoder, batchtopk"
"""What `train_crosscoder.py` trains by default; random dictionaries fire as often as its latents."""
METHODS: dict[str, Method] = {
    DEFAULT: Method(about=_NRN, fit=_crosscoder, plans=_kept("batchtopk"), has_seeds=True),
    "crosscoder, topk": Method(about=_NRN, fit=_crosscoder, plans=_kept("topk"), has_seeds=True),
    "crosscoder, l1": Method(about=_NRN, fit=_crosscoder, plans=_l1, has_seeds=True),
    "crosscoder, jumprelu": Method(about=_NRN, fit=_crosscoder, plans=_jumprelu, has_seeds=True),
    "crosscoder, exclusive latents": Method(
        about=f"{_NRN}; one in {EXCLUSIVE_SHARE} is designated as the last model's alone",
        fit=_crosscoder,
        plans=_exclusive,
        has_seeds=True,
    ),
    "crosscoder, delta loss": Method(
        about=f"{_NRN}; the error of the difference counts {DIFFERENCE_WEIGHT:g} times more",
        fit=_crosscoder,
        plans=_delta,
        has_seeds=True,
    ),
    "SAE of the last model": Method(
        about="a latent of the last model's stream; the method sees no other model, so every latent is a claim",
        fit=_of_distilled,
        plans=_kept("batchtopk"),
        has_seeds=True,
    ),
    "SAE of the difference": Method(
        about="a latent of last less first; every latent is a claim",
        fit=_of_difference,
        plans=_kept("batchtopk"),
        has_seeds=True,
    ),
    "PCA of the difference": Method(
        about=f"either end of one of the {COMPONENTS} first components of last less first; all are claims",
        fit=_components,
        dense=True,
    ),
    "mean difference": Method(about="either end of the mean of last less first; a claim", fit=_mean, dense=True),
    "difference at first positions": Method(
        about=f"either end of the mean of last less first at position 1, 2, … {FIRST_POSITIONS}; all are claims",
        fit=_first_positions,
        dense=True,
    ),
    "change of predictions": Method(
        about="KL, the largest change of a log probability, or the rise of one word's probability; all are claims",
        fit=_predictions,
    ),
}
