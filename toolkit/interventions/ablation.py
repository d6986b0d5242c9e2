"""What latents do for the next word: the word's logit with and without them, in both models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.harvest.tokens import TokenBatch
from toolkit.interventions.edits import latents_part, splice, stream_index, subtract
from toolkit.interventions.targets import Targets
from toolkit.models.edits import Edit
from toolkit.models.pair import ModelPair
from toolkit.models.tracing import TracedModel

Positions = Literal["predict", "prefix", "all"]
"""predict: only where the word is predicted; prefix: every token up to there but the first; all: the first too."""

BATCH_TOKENS = 8192


@dataclass(frozen=True, kw_only=True)
class Method:
    """Where latents are taken out, and of what."""

    positions: Positions = "predict"
    """Where the latents are taken out."""
    spliced: bool = False
    """Take them out of the reconstruction, against the unablated reconstruction; else out of the stream itself."""
    layer: int | None = None
    """Site, for a crosscoder of several layers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Effects:
    """Changes at each target, per model (base, distilled) and perhaps arm: edited minus unedited, on the same axes."""

    logit: Float[Tensor, "*arm model target"]
    log_probability: Float[Tensor, "*arm model target"]
    """In nats."""
    rank: Float[Tensor, "*arm model target"]
    """Places in the order of the vocabulary; positive is further from the top."""

    def mean(self, arms: Sequence[int]) -> "Effects":
        """The mean over some arms, [model, target]."""
        logit, log_probability, rank = (each[arms].mean(dim=0) for each in vars(self).values())
        return Effects(logit=logit, log_probability=log_probability, rank=rank)


@torch.no_grad()
def predicting_codes(pair: ModelPair, crosscoder: Crosscoder, targets: Targets) -> Float[Tensor, "target latent"]:
    """Codes at the position that predicts each target."""
    codes = torch.empty(len(targets.prefixes), crosscoder.config.n_latents)
    for where, batch in targets.batches(BATCH_TOKENS):
        residual = pair.residual(batch.input_ids, batch.attention_mask)
        codes[where] = crosscoder.encode(residual[:, -1].to(crosscoder.b_dec)).cpu()
    return codes


@torch.no_grad()
def ablation_effects(
    pair: ModelPair,
    crosscoder: Crosscoder,
    targets: Targets,
    arms: Sequence[Int[Tensor, " _"]],
    method: Method,
) -> Effects:
    """Take each arm's latents out of both models and compare the target's logit with the unedited one's.

    x' = x − Σ f_k W_dec,k over the arm, which preserves the crosscoder's error. With `method.spliced` both sides of
    the comparison have the reconstruction in place of x, so that its error is not counted as an effect.
    """
    measured = torch.empty(3, len(arms) + 1, 2, len(targets.prefixes))
    for where, batch in targets.batches(BATCH_TOKENS):
        target_ids = targets.target_ids[where]
        positions = _positions(batch, method.positions)
        residual = pair.residual(batch.input_ids, batch.attention_mask)
        codes = crosscoder.encode(residual[positions.to(residual.device)].to(crosscoder.b_dec))
        for index, name in enumerate(pair.names):
            model = pair.base if name == "base" else pair.distilled
            stream = stream_index(crosscoder, name, method.layer)
            edits = [None if not method.spliced else _edit(crosscoder, codes, None, stream, positions, method)]
            edits += [_edit(crosscoder, codes, arm, stream, positions, method) for arm in arms]
            for arm, logits in enumerate(_last_logits(model, batch, edits, method)):
                measured[:, arm, index, where] = _of_target(logits, target_ids)
    change = measured[:, 1:] - measured[:, :1]
    return Effects(logit=change[0], log_probability=change[1], rank=change[2])


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


def _last_logits(
    model: TracedModel, batch: TokenBatch, edits: Sequence[Edit | None], method: Method
) -> list[Float[Tensor, "row vocab"]]:
    """The last position's logits under each edit."""
    ids, mask = batch.input_ids, batch.attention_mask
    past = DynamicCache(config=model.model._module.config)
    # A sliding window forgets what taking a token back would need.
    if method.positions != "predict" or ids.shape[1] == 1 or any(past.is_sliding):
        return [model.logits(ids, mask, edit=edit, last=1)[:, 0] for edit in edits]
    # Nothing before the last position changes: it is computed once for all arms.
    model.logits(ids[:, :-1], mask[:, :-1], last=1, past=past)
    logits = []
    for edit in edits:
        last_edit = edit and _at_last(edit)
        logits.append(model.logits(ids[:, -1:], mask, edit=last_edit, last=1, past=past)[:, 0])
        past.crop(-1)
    return logits


def _at_last(edit: Edit) -> Edit:
    return Edit(
        layer=edit.layer,
        function=edit.function,
        operands=tuple(operand[:, -1:] for operand in edit.operands),
        positions=None if edit.positions is None else edit.positions[:, -1:],
    )


def _of_target(logits: Tensor, target_ids: Tensor) -> Float[Tensor, "3 row"]:
    """Logit, log-probability and rank of each row's target."""
    logits, target_ids = logits.float().cpu(), target_ids[:, None]
    logit = logits.gather(1, target_ids)
    above = (logits > logit).sum(dim=1)
    return torch.stack([logit[:, 0], logit[:, 0] - logits.logsumexp(dim=1), above.float()])
