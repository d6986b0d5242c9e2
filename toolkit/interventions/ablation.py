"""Measures how ablating latents changes the logit of the next word, in each model."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.formatting import counted
from toolkit.harvest.tokens import TokenBatch
from toolkit.interventions.edits import latents_part, splice, stream_index, subtract
from toolkit.interventions.targets import Targets
from toolkit.latents.choices import Method, Positions
from toolkit.models.model.edits import Edit
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import target_at_end
from toolkit.models.model_set import ModelSet
from toolkit.models.places.place import stretches
from toolkit.tracking import track

BATCH_TOKENS = 8192
EDIT_BYTES = 2**30
"""Most bytes of the vectors that are taken out in one call; more arms are measured in several calls."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LogitChange:
    """The changes (edited − unedited) that an edit made at each target in one model, for each arm if there are arms."""

    logit: Float[Tensor, "*arm target"]
    log_probability: Float[Tensor, "*arm target"]
    """Change of the log probability, in nats."""
    rank: Float[Tensor, "*arm target"]
    """Change of the target's rank among all tokens; above 0 the target is further from the top."""
    probability: Float[Tensor, "*arm target"]
    """The target's probability before the edit."""
    removed: Float[Tensor, "*arm target"]
    """Norm of what is taken out where the target is predicted, over that of the stream there."""

    def __repr__(self) -> str:
        means = {name: _rounded(getattr(self, name).mean(dim=-1)) for name in ("logit", "log_probability", "rank")}
        said = ", ".join(f"{name} {mean}" for name, mean in means.items())
        return f"Change on {counted(self.logit.shape[-1], 'word')}, on average: {said}"


MEASURES = tuple(each.name for each in fields(LogitChange))


@dataclass(frozen=True, kw_only=True, eq=False)
class Effects:
    """The changes in every model: `effects["distilled"].logit` are the distilled model's."""

    models: tuple[str, ...]
    """Names of the models, in the order of the streams."""
    values: Float[Tensor, "measure *arm model target"]
    """What a `LogitChange` holds, in its order."""

    def __getitem__(self, model: str) -> LogitChange:
        """Return the changes in the model of that name; raises `ValueError` for an unknown name."""
        if model not in self.models:
            raise ValueError(f"no model is called {model!r}: choose from {', '.join(self.models)}")
        return LogitChange(**dict(zip(MEASURES, self.values[..., self.models.index(model), :], strict=True)))

    def __repr__(self) -> str:
        means = self.values[0].mean(dim=-1).unbind(dim=-1)
        said = ", ".join(f"{name} {_rounded(mean)}" for name, mean in zip(self.models, means, strict=True))
        return f"Effects on {counted(self.values.shape[-1], 'word')}, mean change of the logit: {said}"

    def of(self, arms: Sequence[int] | int) -> "Effects":
        """Return the effects of some arms, or of one without an axis of arms."""
        return Effects(models=self.models, values=self.values[:, arms])

    def mean(self) -> "Effects":
        """Return the mean over the arms, without an axis of arms."""
        return Effects(models=self.models, values=self.values.mean(dim=1))

    def beside(self, other: "Effects") -> "Effects":
        """Return the effects of the same arms in these models, and then in the other's."""
        return Effects(models=self.models + other.models, values=torch.cat([self.values, other.values], dim=-2))


def _rounded(values: Tensor) -> str:
    """Write one number, or a list where there are arms, with two decimals."""
    return f"{float(values):.2f}" if values.ndim == 0 else str([round(value, 2) for value in values.tolist()])


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """What is taken out of the streams: what a crosscoder's latents add, or random vectors of the same length."""

    crosscoder: Crosscoder
    latents: Int[Tensor, " _"]
    direction: int | None = None
    """Seed of a random direction for each stream: vectors of this direction are taken out in place of what the latents
    add, at each position as long as that."""

    @property
    def key(self) -> tuple[int, frozenset[int], int | None]:
        """Equal for arms that take out the same."""
        return id(self.crosscoder), frozenset(self.latents.tolist()), self.direction

    def part(self, codes: Float[Tensor, "token latent"], stream: int) -> Float[Tensor, "token d_model"]:
        """Return what is taken out of one stream, given the crosscoder's codes."""
        part = latents_part(self.crosscoder, codes, self.latents.to(codes.device), stream)
        if self.direction is None:
            return part
        shape = self.crosscoder.config.n_streams, self.crosscoder.config.d_model
        random = torch.randn(shape, generator=torch.Generator().manual_seed(self.direction))[stream]
        return part.norm(dim=1, keepdim=True) * torch.nn.functional.normalize(random, dim=0).to(part)


class ReadRows(NamedTuple):
    """One batch of targets, with what was read."""

    where: Int[Tensor, " row"]
    """Indices of the targets."""
    batch: TokenBatch
    positions: Bool[Tensor, "row position"]
    streams: Float[Tensor, "token stream d_model"]

    @property
    def last(self) -> Int[Tensor, " row"]:
        """The lines of `streams` that predict the targets."""
        return self.positions.sum(dim=1).cumsum(dim=0) - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadTargets:
    """Targets with all models' streams at the positions where something is taken out."""

    targets: Targets
    positions: Positions
    rows: list[ReadRows]

    @classmethod
    def read(cls, models: ModelSet, targets: Targets, positions: Positions) -> "ReadTargets":
        """Read the streams once, for every crosscoder and every arm."""
        batches = [(*each, _positions(each[1], positions)) for each in targets.batches(BATCH_TOKENS)]
        asked = ((each, (each[1].input_ids, each[1].attention_mask, each[2])) for each in batches)
        rows = [ReadRows(*each, streams) for each, streams in models.selected_each(asked)]
        return cls(targets=targets, positions=positions, rows=rows)

    @torch.no_grad()
    def predicting_codes(self, crosscoder: Crosscoder) -> Float[Tensor, "target latent"]:
        """Return the codes at the position that predicts each target."""
        codes = torch.empty(len(self.targets.prefixes), crosscoder.config.n_latents)
        for each in self.rows:
            at_last = each.streams[each.last.to(each.streams.device)]
            codes[each.where] = crosscoder.encode(at_last.to(crosscoder.b_dec)).cpu()
        return codes


@torch.no_grad()
def ablation_effects(
    models: ModelSet, read: ReadTargets, arms: Sequence[Arm], method: Method, *, edited: Sequence[str] | None = None
) -> Effects:
    """Take each arm out of every model, or of those in `edited`, and compare the target's logit with the unedited one.

    x' = x − Σ f_k W_dec,k over the arm's latents, which preserves the crosscoder's error. With `method.spliced` both
    sides of the comparison have the reconstruction in place of x, so that its error is not counted as an effect.
    `read` must hold the streams at `method.positions`.
    """
    assert read.positions == method.positions, "read at other positions"
    names = models.names if edited is None else tuple(edited)
    values = torch.empty(len(MEASURES), len(arms), len(names), len(read.targets.prefixes))
    largest = max((each.streams[:, 0].numel() * 4 for each in read.rows), default=1)
    together = stretches([largest] * len(arms), EDIT_BYTES)
    for index, name in enumerate(track(names, "editing models", "models")):
        for each in track(read.rows, "batches", "batches"):
            for some in together:
                values[:, some, index, each.where] = _of_rows(models, name, read, each, arms[some], method)
    return Effects(models=names, values=values)


def _of_rows(
    models: ModelSet, name: str, read: ReadTargets, rows: ReadRows, arms: Sequence[Arm], method: Method
) -> Float[Tensor, "measure arm row"]:
    """One model's changes in one batch."""
    crosscoders = {id(arm.crosscoder): arm.crosscoder for arm in arms}
    codes = {key: each.encode(rows.streams.to(each.b_dec)) for key, each in crosscoders.items()}
    streams = {key: stream_index(each, name, method.layer) for key, each in crosscoders.items()}
    edits: list[Edit | None] = [None]
    if method.spliced:
        edits = [_edit(each, codes[key], 0.0, streams[key], rows, method) for key, each in crosscoders.items()]
    before, removed = len(edits), []
    for arm in arms:
        key = id(arm.crosscoder)
        part, stream = arm.part(codes[key], streams[key]), streams[key]
        edits.append(_edit(arm.crosscoder, codes[key], part, stream, rows, method))
        taken, whole = (each[rows.last.to(each.device)].norm(dim=1) for each in (part, rows.streams[:, stream]))
        removed.append((taken / whole.to(taken)).cpu())
    found = measure(
        models.models[name],
        rows.batch.input_ids,
        rows.batch.attention_mask,
        edits,
        target_at_end,
        (read.targets.target_ids[rows.where],),
        last=1,
        unchanged=rows.batch.input_ids.shape[1] - 1 if read.positions == "predict" else 0,
    )
    place = {key: index if method.spliced else 0 for index, key in enumerate(crosscoders)}
    unedited = found[[place[id(arm.crosscoder)] for arm in arms]]
    changes = (found[before:] - unedited).permute(2, 0, 1)
    return torch.cat([changes, unedited[None, :, :, 1].exp(), torch.stack(removed)[None]])


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
    crosscoder: Crosscoder, codes: Tensor, part: Tensor | float, stream: int, rows: ReadRows, method: Method
) -> Edit:
    """Take `part` out of the stream, or out of its reconstruction."""
    layers = crosscoder.config.layers
    layer = layers[stream % len(layers)]
    if not method.spliced:
        assert isinstance(part, Tensor)
        return subtract(layer, part, rows.positions)
    reconstruction = codes @ crosscoder.W_dec[:, stream] + crosscoder.b_dec[stream]
    return splice(layer, reconstruction - part, rows.positions)
