"""Ablation with its controls: a category's latents against as many others, on text that did not choose them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.geometry.decoder_norms import nrn
from toolkit.harvest.masks import TokenMask
from toolkit.harvest.tokens import TokenBatch, text_batches
from toolkit.interventions.ablation import Effects, Method, ablation_effects, predicting_codes
from toolkit.interventions.matching import check_match
from toolkit.interventions.targets import OTHER, Targets, TargetSearch
from toolkit.latents.categories import Category, categories, load_lexicon
from toolkit.latents.firing import FiringCounts, Place
from toolkit.latents.selection import Rule, matched_latents, random_latents, select_latents
from toolkit.models.pair import ModelPair

ARMS = ("chosen", "random", "matched")


@dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """Which latents are taken out, where, and what that is compared with."""

    shares: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
    """Shares of the alive latents to take out, the best first."""
    reference: float = 0.02
    """The share that the headline, the histogram and the off-target matrix are about."""
    select: Rule = "lift"
    """lift: P(fire | category) / P(fire); rate: P(fire | category); quantile: the paper's, by counts."""
    place: Place = "predicting"
    """Count firings where the word is predicted, or on the word's own token (the paper)."""
    min_nrn: float = 0.5
    """Only latents whose NRN is above this: those that lean to the distilled model."""
    targets: int = 100
    """Positions a category, drawn without replacement."""
    undecided: tuple[float, float] = (0.05, 0.9)
    """Only words that the distilled model gives a probability in this range; 0 1 takes all occurrences (the paper)."""
    method: Method = field(default_factory=Method)
    """Where the latents are taken out, and of what."""
    control_draws: int = 3
    """Draws of each control, averaged position by position."""
    seed: int = 0
    """Seed of positions and controls."""

    def __post_init__(self) -> None:
        if self.reference not in self.shares:
            raise ValueError(f"the reference share {self.reference} is not among the shares {self.shares}: add it")
        for name, least in (("targets", 2), ("control_draws", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least {least}")


@dataclass(frozen=True, kw_only=True, eq=False)
class CategoryAblation:
    """What was measured on one category's words."""

    category: Category
    targets: Targets
    latents: dict[float, list[int]]
    """The chosen latents at each share, the best first."""
    effects: dict[tuple[float, str], Effects]
    """At each share and arm (`ARMS`), [1, model, target]: controls are means over their draws."""
    matched_code: dict[float, float]
    """Mean code of the matched control's latents over that of the chosen ones: 1 is a perfect match.
    NaN where the chosen ones are silent at all targets."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AblationStudy:
    """All categories, and what each one's latents do to other words."""

    categories: list[CategoryAblation]
    off_target: dict[tuple[str, str], Effects]
    """(category whose latents are out, category of the words) at the reference share, [1, model, target]."""
    counts: FiringCounts
    """Firing on the half of the text that chose the latents."""
    alive: Bool[Tensor, " latent"]
    nrn: Float[Tensor, " latent"]


def ablate(
    pair: ModelPair,
    crosscoder: Crosscoder,
    texts: Sequence[str],
    *,
    category: str,
    settings: AblationSettings | None = None,
) -> CategoryAblation:
    """Take one category's latents out, on texts: every other text chooses the latents, the rest test them.

    `category` is one of the shipped lexicon's. Raises `ValueError` for any other, for a crosscoder of other streams
    than the pair's, and as `ablation_study` does.
    """
    check_match(pair, crosscoder, other_models=True)
    lexicon = load_lexicon()
    if category not in lexicon:
        raise ValueError(f"no category is called {category!r}: choose from {', '.join(lexicon)}")
    chosen = categories(pair.tokenizer, {category: lexicon[category]})
    mask = TokenMask(special_ids=frozenset(), keep_position_0=False, outlier_factor=10.0)
    batches = text_batches(texts, pair.tokenizer, row_length=min(2048, pair.distilled.context), batch_tokens=8192)
    return ablation_study(pair, crosscoder, batches, mask, chosen, settings or AblationSettings()).categories[0]


def ablation_study(
    pair: ModelPair,
    crosscoder: Crosscoder,
    batches: Iterable[TokenBatch],
    mask: TokenMask,
    lexicon: Sequence[Category],
    settings: AblationSettings,
) -> AblationStudy:
    """Choose latents on the even rows of every batch, test them on the odd ones.

    Raises `ValueError` for a category whose words are too rare in the text to choose latents or to test them.
    """
    counts, targets = _read(pair, crosscoder, batches, mask, lexicon, settings)
    alive, values = counts.fired > 0, nrn(crosscoder.W_dec.unflatten(1, (2, -1)).flatten(2).cpu())
    eligible = alive & (values > settings.min_nrn)
    chosen = {
        share: [
            select_latents(counts, index, rule=settings.select, place=settings.place, share=share, eligible=eligible)
            for index in range(len(lexicon))
        ]
        for share in settings.shares
    }
    measured, off_target = [], {}
    for index, category in enumerate(lexicon):
        by_share = {share: chosen[share][index] for share in settings.shares}
        measured.append(_ablate_category(pair, crosscoder, category, targets[category.name], by_share, alive, settings))
    edited = chosen[settings.reference]
    for name in [*(category.name for category in lexicon), OTHER]:
        effects = ablation_effects(pair, crosscoder, targets[name], edited, settings.method)
        for index, category in enumerate(lexicon):
            off_target[category.name, name] = _mean_arms(effects, slice(index, index + 1))
    return AblationStudy(categories=measured, off_target=off_target, counts=counts, alive=alive, nrn=values)


@torch.no_grad()
def _read(
    pair: ModelPair,
    crosscoder: Crosscoder,
    batches: Iterable[TokenBatch],
    mask: TokenMask,
    lexicon: Sequence[Category],
    settings: AblationSettings,
) -> tuple[FiringCounts, dict[str, Targets]]:
    counts = FiringCounts(lexicon, crosscoder.config.n_latents)
    search = TargetSearch(lexicon, settings.undecided)
    for batch in batches:
        choosing = TokenBatch(batch.input_ids[::2], batch.attention_mask[::2])
        residual = pair.residual(choosing.input_ids, choosing.attention_mask)
        selected = mask.select(choosing, residual)
        counts.add(choosing.input_ids, selected, crosscoder.encode(residual[selected].to(crosscoder.b_dec)))
        testing = TokenBatch(batch.input_ids[1::2], batch.attention_mask[1::2])
        if len(testing.input_ids):
            search.add(pair, testing, mask.tokens(testing))
    return counts, search.draw(settings.targets, torch.Generator().manual_seed(settings.seed))


def _ablate_category(
    pair: ModelPair,
    crosscoder: Crosscoder,
    category: Category,
    targets: Targets,
    chosen: dict[float, Tensor],
    alive: Tensor,
    settings: AblationSettings,
) -> CategoryAblation:
    generator = torch.Generator().manual_seed(settings.seed)
    mean_code = predicting_codes(pair, crosscoder, targets).mean(dim=0)
    arms: list[Tensor] = []
    place: dict[tuple[float, str], slice] = {}
    for share, latents in chosen.items():
        draws = {
            "chosen": [latents],
            "random": [random_latents(latents, alive, generator) for _ in range(settings.control_draws)],
            "matched": [matched_latents(latents, alive, mean_code, generator) for _ in range(settings.control_draws)],
        }
        for arm in ARMS:
            place[share, arm] = slice(len(arms), len(arms) + len(draws[arm]))
            arms += draws[arm]
    effects = ablation_effects(pair, crosscoder, targets, arms, settings.method)
    return CategoryAblation(
        category=category,
        targets=targets,
        latents={share: latents.tolist() for share, latents in chosen.items()},
        effects={key: _mean_arms(effects, where) for key, where in place.items()},
        matched_code={
            share: _ratio(_total(mean_code, arms[place[share, "matched"]]), _total(mean_code, [latents]))
            for share, latents in chosen.items()
        },
    )


def _mean_arms(effects: Effects, where: slice) -> Effects:
    names = ("logit", "log_probability", "rank")
    return Effects(**{name: getattr(effects, name)[where].mean(dim=0, keepdim=True) for name in names})


def _total(mean_code: Tensor, draws: Sequence[Tensor]) -> float:
    return float(torch.stack([mean_code[latents].sum() for latents in draws]).mean())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
