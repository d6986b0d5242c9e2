"""What latents do for the next word: the word's logit with and without them, in each model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.harvest.tokens import TokenBatch
from toolkit.interventions.edits import latents_part, splice, stream_index, subtract
from toolkit.interventions.targets import Targets
from toolkit.latents.choices import Method, Positions
from toolkit.models.model.edits import Edit
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import target_at_end
from toolkit.models.pair import ModelPair
from toolkit.tracking import track

BATCH_TOKENS = 8192


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """What an edit changed at each target in one model, perhaps per arm: edited minus unedited."""

    logit: Float[Tensor, "*arm target"]
    log_probability: Float[Tensor, "*arm target"]
    """In nats."""
    rank: Float[Tensor, "*arm target"]
    """Places in the order of the vocabulary; positive is further from the top."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Effects:
    """The same in every model: `effects["distilled"].logit` is the distilled model's."""

    models: tuple[str, ...]
    """Their names, in the order of the streams."""
    values: Float[Tensor, "3 *arm model target"]
    """Changes of logit, log probability and rank."""

    def __getitem__(self, model: str) -> Change:
        """What changed in the model of that name; raises `ValueError` for a name that is not there."""
        if model not in self.models:
            raise ValueError(f"no model is called {model!r}: choose from {', '.join(self.models)}")
        logit, log_probability, rank = self.values[..., self.models.index(model), :]
        return Change(logit=logit, log_probability=log_probability, rank=rank)

    def __repr__(self) -> str:
        means = self.values[0].mean(dim=-1).unbind(dim=-1)
        said = ", ".join(f"{name} {_rounded(mean)}" for name, mean in zip(self.models, means, strict=True))
        return f"Effects on {self.values.shape[-1]} words, mean change of the logit: {said}"

    def mean(self, arms: Sequence[int]) -> "Effects":
        """The mean over some arms, which leaves no axis of arms."""
        return Effects(models=self.models, values=self.values[:, arms].mean(dim=1))


def _rounded(values: Tensor) -> str:
    """One number, or a list of them where there are arms, with two decimals."""
    return f"{float(values):.2f}" if values.ndim == 0 else str([round(value, 2) for value in values.tolist()])


@torch.no_grad()
def predicting_codes(pair: ModelPair, crosscoder: Crosscoder, targets: Targets) -> Float[Tensor, "target latent"]:
    """Codes at the position that predicts each target."""
    codes = torch.empty(len(targets.prefixes), crosscoder.config.n_latents)
    batches = targets.batches(BATCH_TOKENS)
    rows = ((where, (batch.input_ids, batch.attention_mask, _positions(batch, "predict"))) for where, batch in batches)
    for where, read in pair.selected_each(rows):
        codes[where] = crosscoder.encode(read).cpu()
    return codes


@torch.no_grad()
def ablation_effects(
    pair: ModelPair,
    crosscoder: Crosscoder,
    targets: Targets,
    arms: Sequence[Int[Tensor, " _"]],
    method: Method,
) -> Effects:
    """Take each arm's latents out of every model and compare the target's logit with the unedited one's.

    x' = x − Σ f_k W_dec,k over the arm, which preserves the crosscoder's error. With `method.spliced` both sides of
    the comparison have the reconstruction in place of x, so that its error is not counted as an effect.
    """
    measured = torch.empty(3, len(arms) + 1, len(pair.names), len(targets.prefixes))
    batches = [(*each, _positions(each[1], method.positions)) for each in targets.batches(BATCH_TOKENS)]
    rows = ((where, (batch.input_ids, batch.attention_mask, positions)) for where, batch, positions in batches)
    reads = [read for _, read in pair.selected_each(rows)]
    models = list(pair.models.items())
    for index, (name, model) in enumerate(track(models, "editing models", "models")):
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
    return Effects(models=pair.names, values=measured[:, 1:] - measured[:, :1])


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
