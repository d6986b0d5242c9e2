"""Measures how ablating latents changes the logit of the next word, in each model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.formatting import counted
from toolkit.harvest.tokens import TokenBatch
from toolkit.interventions.edits import latents_part, splice, stream_index, subtract
from toolkit.latents.categories import Category
from toolkit.latents.choices import Method, Positions
from toolkit.leaving_out import TooFewError, measurable
from toolkit.models.model.edits import Edit
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import next_log_probability, target_at_end
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model_set import ModelSet
from toolkit.models.text.rows import by_length, padded
from toolkit.tracking import track

BATCH_TOKENS = 8192
OTHER = "other words"


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """Texts that are cut before a word, and that word, the target."""

    prefixes: tuple[Int[Tensor, " _"], ...]
    target_ids: Int[Tensor, " target"]
    documents: Int[Tensor, " target"]
    """Number of the text that each target is from, in the order of reading."""
    found: int
    """Number of suitable positions, of which the targets were drawn."""

    def batches(self, batch_tokens: int) -> list[tuple[Int[Tensor, " _"], TokenBatch]]:
        """Return batches of prefixes of similar length, padded on the left, each with its targets' indices."""
        groups = by_length([len(prefix) for prefix in self.prefixes], batch_tokens, shortest_first=True)
        return [
            (torch.tensor(group), TokenBatch(*padded([self.prefixes[i] for i in group], left=True))) for group in groups
        ]


class _Found(NamedTuple):
    document: int
    text: Tensor
    position: int


class TargetSearch:
    """Collects every suitable position of each category, then draws targets from them."""

    def __init__(self, categories: Sequence[Category], undecided: tuple[float, float]) -> None:
        low, high = undecided
        if not 0 <= low < high <= 1:
            raise ValueError(f"undecided {low} {high}: give two rising probabilities, 0 1 for all occurrences")
        self.undecided = undecided
        self._categories = {category.name: category for category in categories}
        self._found: dict[str, list[_Found]] = {name: [] for name in [*self._categories, OTHER]}
        self._documents = 0

    def add(self, model: TracedModel, batch: TokenBatch, selected: Bool[Tensor, "row position"]) -> None:
        """Search one batch; a word counts where its token and the one before it are selected.

        The model must give the word a probability within `undecided`.
        """
        ids = batch.input_ids
        may = selected[:, :-1] & selected[:, 1:]
        if self.undecided != (0.0, 1.0):
            found = measure(model, ids, batch.attention_mask, [None], next_log_probability, (ids,))
            probability = found[0].exp()
            may = may & (probability >= self.undecided[0]) & (probability <= self.undecided[1])
        anywhere = torch.zeros_like(may)
        for name, category in self._categories.items():
            of_category = torch.isin(ids[:, 1:], torch.tensor(category.token_ids, dtype=torch.long))
            anywhere |= of_category
            self._keep(name, ids, may & of_category)
        self._keep(OTHER, ids, may & ~anywhere)
        self._documents += len(ids)

    def _keep(self, name: str, ids: Tensor, where: Tensor) -> None:
        self._found[name] += [
            _Found(self._documents + row, ids[row], position + 1) for row, position in where.nonzero().tolist()
        ]

    def draw(self, wanted: int, generator: torch.Generator) -> tuple[dict[str, Targets], dict[str, str]]:
        """Draw `wanted` positions of each category and of other words, without replacement; all if there are fewer.

        Also returns why each category with fewer than two positions is left out, by name.
        """
        return measurable(self._found, lambda name: self._draw(name, wanted, generator))

    def _draw(self, name: str, wanted: int, generator: torch.Generator) -> Targets:
        if name in self._categories:
            self._categories[name].check_tokens()
        found = self._found[name]
        if len(found) < 2:
            raise TooFewError(
                f"{name}: {len(found)} positions where its words have a probability of {self.undecided[0]:g} to"
                f" {self.undecided[1]:g}, and at least two are needed: read more text, or widen undecided"
            )
        drawn = [found[i] for i in torch.randperm(len(found), generator=generator)[:wanted].tolist()]
        return Targets(
            prefixes=tuple(each.text[: each.position] for each in drawn),
            target_ids=torch.stack([each.text[each.position] for each in drawn]),
            documents=torch.tensor([each.document for each in drawn]),
            found=len(found),
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LogitChange:
    """The changes (edited − unedited) that an edit made at each target in one model, for each arm if there are arms."""

    logit: Float[Tensor, "*arm target"]
    log_probability: Float[Tensor, "*arm target"]
    """Change of the log probability, in nats."""
    rank: Float[Tensor, "*arm target"]
    """Change of the target's rank among all tokens; above 0 the target is further from the top."""

    def __repr__(self) -> str:
        means = {name: _rounded(getattr(self, name).mean(dim=-1)) for name in ("logit", "log_probability", "rank")}
        said = ", ".join(f"{name} {mean}" for name, mean in means.items())
        return f"Change on {counted(self.logit.shape[-1], 'word')}, on average: {said}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Effects:
    """The changes in every model: `effects["distilled"].logit` are the distilled model's."""

    models: tuple[str, ...]
    """Names of the models, in the order of the streams."""
    values: Float[Tensor, "3 *arm model target"]
    """Changes of logit, log probability and rank."""

    def __getitem__(self, model: str) -> LogitChange:
        """Return the changes in the model of that name; raises `ValueError` for an unknown name."""
        if model not in self.models:
            raise ValueError(f"no model is called {model!r}: choose from {', '.join(self.models)}")
        logit, log_probability, rank = self.values[..., self.models.index(model), :]
        return LogitChange(logit=logit, log_probability=log_probability, rank=rank)

    def __repr__(self) -> str:
        means = self.values[0].mean(dim=-1).unbind(dim=-1)
        said = ", ".join(f"{name} {_rounded(mean)}" for name, mean in zip(self.models, means, strict=True))
        return f"Effects on {counted(self.values.shape[-1], 'word')}, mean change of the logit: {said}"

    def mean(self, arms: Sequence[int]) -> "Effects":
        """Return the mean over some arms, without an axis of arms."""
        return Effects(models=self.models, values=self.values[:, arms].mean(dim=1))


def _rounded(values: Tensor) -> str:
    """Write one number, or a list where there are arms, with two decimals."""
    return f"{float(values):.2f}" if values.ndim == 0 else str([round(value, 2) for value in values.tolist()])


@torch.no_grad()
def predicting_codes(models: ModelSet, crosscoder: Crosscoder, targets: Targets) -> Float[Tensor, "target latent"]:
    """Return the codes at the position that predicts each target."""
    codes = torch.empty(len(targets.prefixes), crosscoder.config.n_latents)
    batches = targets.batches(BATCH_TOKENS)
    rows = ((where, (batch.input_ids, batch.attention_mask, _positions(batch, "predict"))) for where, batch in batches)
    for where, read in models.selected_each(rows):
        codes[where] = crosscoder.encode(read).cpu()
    return codes


@torch.no_grad()
def ablation_effects(
    models: ModelSet,
    crosscoder: Crosscoder,
    targets: Targets,
    arms: Sequence[Int[Tensor, " _"]],
    method: Method,
) -> Effects:
    """Ablate each arm's latents in every model, and compare the target's logit with the unedited model's.

    x' = x − Σ f_k W_dec,k over the arm, which preserves the crosscoder's error. With `method.spliced` both sides of
    the comparison have the reconstruction in place of x, so that its error is not counted as an effect.
    """
    measured = torch.empty(3, len(arms) + 1, len(models.names), len(targets.prefixes))
    batches = [(*each, _positions(each[1], method.positions)) for each in targets.batches(BATCH_TOKENS)]
    rows = ((where, (batch.input_ids, batch.attention_mask, positions)) for where, batch, positions in batches)
    reads = [read for _, read in models.selected_each(rows)]
    each_model = list(models.models.items())
    for index, (name, model) in enumerate(track(each_model, "editing models", "models")):
        stream = stream_index(crosscoder, name, method.layer)
        for (where, batch, positions), read in zip(track(batches, "batches", "batches"), reads, strict=True):
            codes = crosscoder.encode(read)
            unedited = _edit(crosscoder, codes, None, stream, positions, method) if method.spliced else None
            edits = [unedited, *(_edit(crosscoder, codes, arm, stream, positions, method) for arm in arms)]
            before_last = batch.input_ids.shape[1] - 1 if method.positions == "predict" else 0
            measured[:, :, index, where] = measure(
                model,
                batch.input_ids,
                batch.attention_mask,
                edits,
                target_at_end,
                (targets.target_ids[where],),
                last=1,
                unchanged=before_last,
            ).permute(2, 0, 1)
    return Effects(models=models.names, values=measured[:, 1:] - measured[:, :1])


def _positions(batch: TokenBatch, which: Positions) -> Bool[Tensor, "row position"]:
    mask = batch.attention_mask.bool()
    if which == "all":
        return mask
    if which == "prefix":
        return mask & (batch.attention_mask.cumsum(dim=1) > 1)
    last = torch.zeros_like(mask)
    last[:, -1] = True
    return last


def _edit(
    crosscoder: Crosscoder, codes: Tensor, arm: Tensor | None, stream: int, positions: Tensor, method: Method
) -> Edit:
    layers = crosscoder.config.layers
    layer = layers[stream % len(layers)]
    part = latents_part(crosscoder, codes, arm.to(codes.device), stream) if arm is not None else 0.0
    if not method.spliced:
        assert isinstance(part, Tensor)
        return subtract(layer, part, positions)
    reconstruction = codes @ crosscoder.W_dec[:, stream] + crosscoder.b_dec[stream]
    return splice(layer, reconstruction - part, positions)
