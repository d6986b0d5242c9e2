"""Ablation with its controls: a category's latents against as many others, on text that did not choose them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.experiments.ablation import GIVEN, AblationConfig, AblationSettings, share_name
from toolkit.experiments.run import Run
from toolkit.formatting import counted
from toolkit.geometry.decoder_norms import nrn, rows_by_model
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.interventions.ablation import OTHER, Effects, Targets, TargetSearch, ablation_effects, predicting_codes
from toolkit.latents.categories import Category, categories, load_lexicon
from toolkit.latents.choices import Method
from toolkit.latents.coded_batches import coded_batches
from toolkit.latents.firing import FiringCounts
from toolkit.latents.selection import matched_latents, others, random_latents, select_latents
from toolkit.leaving_out import check_any, measurable
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.models.model_set import ModelSet
from toolkit.tracking import track
from toolkit.training.streams import fitting_tokens

ARMS = ("chosen", "random", "matched")


@dataclass(frozen=True, kw_only=True, eq=False)
class CategoryAblation:
    """What was measured on one category's words."""

    category: Category
    targets: Targets
    latents: dict[str, list[int]]
    """The chosen latents at each share, by name ("2 %"), the best first."""
    effects: dict[tuple[str, str], Effects]
    """By share and arm (`ARMS`); controls are means over their draws."""
    matched_code: dict[str, float]
    """Mean code of the matched control's latents over that of the chosen ones, by share: 1 is a perfect match.
    NaN where the chosen ones are silent at all targets."""

    def __getitem__(self, share_and_arm: tuple[str, str]) -> Effects:
        """`result["2 %", "chosen"]`; raises `ValueError` for a share or an arm that was not measured."""
        if share_and_arm not in self.effects:
            shares, arms = (", ".join(map(repr, dict.fromkeys(each))) for each in zip(*self.effects, strict=True))
            raise ValueError(f"{share_and_arm!r} was not measured: give [share, arm], of {shares} and of {arms}")
        return self.effects[share_and_arm]

    def __repr__(self) -> str:
        share, latents = next(iter(self.latents.items()))
        return (
            f"CategoryAblation of {self.category.name!r} at {', '.join(map(repr, self.latents))}\n"
            f"  {share!r} ({counted(len(latents), 'latent')}), 'chosen': {self[share, 'chosen']!r}"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class AblationStudy:
    """All categories, and what each one's latents do to other words."""

    models: tuple[str, ...]
    """Names of the models, in the order of the streams; the last one's probabilities say which words are undecided."""
    categories: list[CategoryAblation]
    off_target: dict[tuple[str, str], Effects]
    """(category whose latents are out, category of the words) at the reference share."""
    other: Targets | None
    """The words of no category; None where they are too rare."""
    left_out: dict[str, str]
    """Why a category could not be measured, by name."""
    counts: FiringCounts
    """Firing on the half of the text that chose the latents."""
    alive: Bool[Tensor, " latent"]
    nrn: Float[Tensor, " latent"]

    @property
    def last(self) -> str:
        """The last model's name: the one whose falls are set beside the controls'."""
        return self.models[-1]

    @property
    def words(self) -> dict[str, Targets]:
        """All words that were measured: each category's, and those of none."""
        targets = {each.category.name: each.targets for each in self.categories}
        return targets if self.other is None else targets | {OTHER: self.other}


def measure(settings: AblationConfig, run: Run) -> AblationStudy:
    """Run the study on the held-out text of a run; raises `TooFewError` as `ablation_study` does."""
    lexicon = categories(run.models.tokenizer, load_lexicon(settings.lexicon))
    # Whole logits of every other row are held at once, so with a large vocabulary a batch has few rows.
    batch_tokens = fitting_tokens(run.reading.text, LARGEST_LOGITS, run.models.vocab_size, rows=2)
    batches = islice(run.tokens(batch_tokens=batch_tokens), max(1, settings.tokens // batch_tokens))
    return ablation_study(run.models, run.crosscoder, batches, run.open_mask(), lexicon, settings, run.layer)


def ablation_study(
    models: ModelSet,
    crosscoder: Crosscoder,
    batches: Iterable[TokenBatch],
    mask: TokenMask,
    lexicon: Sequence[Category],
    settings: AblationSettings,
    layer: int | None = None,
) -> AblationStudy:
    """Choose latents on the even rows of every batch, test them on the odd ones.

    `layer` is the site of the edits, for a crosscoder of several.

    A category whose words are too rare in the text to choose latents or to test them is left out, with the reason;
    raises `TooFewError` where none is left.
    """
    method = settings.method(layer)
    if settings.latents:
        check_latents(settings.latents, crosscoder.config.n_latents)
    counts, targets, left_out = _read(models, crosscoder, batches, mask, lexicon, settings)
    alive, values = counts.fired > 0, nrn(rows_by_model(crosscoder.W_dec.cpu(), len(crosscoder.config.models)))
    eligible = alive & (values > settings.min_nrn)
    by_name = {category.name: category for category in lexicon}
    with_words = [name for name in by_name if name in targets]
    chosen, without_latents = measurable(
        with_words, lambda name: _chosen(counts, list(by_name).index(name), eligible, settings)
    )
    left_out |= without_latents
    check_any(chosen, left_out)
    reference = {name: [latents[settings.reference_name]] for name, latents in chosen.items()}
    measured: list[CategoryAblation] = []
    off_target: dict[tuple[str, str], Effects] = {}
    for name, latents in track(chosen.items(), "taking latents out", "categories"):
        words = targets[name]
        mean_code = predicting_codes(models, crosscoder, words).mean(dim=0)
        draws = _draws(latents, alive, mean_code, settings)
        effects = _measure(models, crosscoder, words, [*draws.values(), *reference.values()], method)
        for edited, effect in zip(reference, effects[len(draws) :], strict=True):
            off_target[edited, name] = effect
        measured.append(_category_ablation(by_name[name], words, latents, draws, effects, mean_code))
    other = targets.get(OTHER)
    if other is not None:
        elsewhere = _measure(models, crosscoder, other, list(reference.values()), method)
        off_target |= {(edited, OTHER): effect for edited, effect in zip(reference, elsewhere, strict=True)}
    return AblationStudy(
        models=models.names,
        categories=measured,
        off_target=off_target,
        other=other,
        left_out=left_out,
        counts=counts,
        alive=alive,
        nrn=values,
    )


def _category_ablation(
    category: Category,
    words: Targets,
    latents: Mapping[str, Tensor],
    draws: Mapping[tuple[str, str], Sequence[Tensor]],
    effects: Sequence[Effects],
    mean_code: Tensor,
) -> CategoryAblation:
    """One category's effects by share and arm, which stand in the order of `draws`, and how well its controls match."""
    return CategoryAblation(
        category=category,
        targets=words,
        latents={share: each.tolist() for share, each in latents.items()},
        effects=dict(zip(draws, effects, strict=False)),
        matched_code={
            share: _ratio(_total(mean_code, draws[share, "matched"]), _total(mean_code, [each]))
            for share, each in latents.items()
        },
    )


def _chosen(
    counts: FiringCounts, category: int, eligible: Tensor, settings: AblationSettings
) -> dict[str, Int[Tensor, " chosen"]]:
    """The latents of one category at every share; raises `TooFewError` where there are none, or no controls."""
    if settings.latents:
        chosen = {GIVEN: torch.tensor(settings.latents)}
    else:
        rule, place, shares = settings.select, settings.place, settings.shares
        selected = select_latents(counts, category, rule=rule, place=place, shares=shares, eligible=eligible)
        chosen = {share_name(share): latents for share, latents in selected.items()}
    for latents in chosen.values():
        others(latents, counts.fired > 0)
    return chosen


@torch.no_grad()
def _read(
    models: ModelSet,
    crosscoder: Crosscoder,
    batches: Iterable[TokenBatch],
    mask: TokenMask,
    lexicon: Sequence[Category],
    settings: AblationSettings,
) -> tuple[FiringCounts, dict[str, Targets], dict[str, str]]:
    """Firing on the even rows, words to predict on the odd ones, and by name why some words are left out.

    The last model's probabilities say which words are undecided.
    """
    counts = FiringCounts(lexicon, crosscoder.config.n_latents)
    search, last = TargetSearch(lexicon, settings.undecided), models.models[models.names[-1]]
    batches = list(batches)
    choosing = (TokenBatch(batch.input_ids[::2], batch.attention_mask[::2]) for batch in batches)
    coded_each = coded_batches(models, crosscoder, choosing, mask)
    for coded in track(coded_each, "counting firings", "batches", total=len(batches)):
        counts.add(coded.batch.input_ids, coded.selected, coded.codes)
    testing = (TokenBatch(batch.input_ids[1::2], batch.attention_mask[1::2]) for batch in batches)
    for rows in track(testing, "looking for words", "batches", total=len(batches)):
        if len(rows.input_ids):
            search.add(last, rows, mask.tokens(rows))
    return counts, *search.draw(settings.targets, torch.Generator().manual_seed(settings.seed))


def _draws(
    chosen: Mapping[str, Tensor], alive: Tensor, mean_code: Tensor, settings: AblationSettings
) -> dict[tuple[str, str], list[Tensor]]:
    """The latents of every share and arm: one draw of the chosen ones, several of each control."""
    generator = torch.Generator().manual_seed(settings.seed)
    times = range(settings.control_draws)
    draws = {}
    for share, latents in chosen.items():
        draws[share, "chosen"] = [latents]
        draws[share, "random"] = [random_latents(latents, alive, generator) for _ in times]
        draws[share, "matched"] = [matched_latents(latents, alive, mean_code, generator) for _ in times]
    return draws


def _measure(
    models: ModelSet, crosscoder: Crosscoder, targets: Targets, arms: Sequence[Sequence[Tensor]], method: Method
) -> list[Effects]:
    """The effects of every arm, means over its draws; draws of the same latents are measured once."""
    different = {frozenset(draw.tolist()): draw for arm in arms for draw in arm}
    number = {latents: index for index, latents in enumerate(different)}
    effects = ablation_effects(models, crosscoder, targets, list(different.values()), method)
    return [effects.mean([number[frozenset(draw.tolist())] for draw in arm]) for arm in arms]


def _total(mean_code: Tensor, draws: Sequence[Tensor]) -> float:
    return float(torch.stack([mean_code[latents].sum() for latents in draws]).mean())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
