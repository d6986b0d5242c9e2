"""What taking latents out does to predictions of held-out text: to hesitation words, and to all other tokens."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.modes import Latent
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.harvest.tokens import TokenBatch
from toolkit.models.model.traced_model import TracedModel
from toolkit.statistics.estimates import Estimate, over_seeds
from toolkit.tracking import track


@dataclass(frozen=True, kw_only=True, eq=False)
class OnText:
    """Predictions of the adapter, unchanged and without each arm's latents, on documents that no latent was chosen on.

    The first row of `probability` and of `loss` is the unchanged adapter.
    """

    arms: Mapping[str, Sequence[int]]
    """The rows of each arm's draws."""
    probability: Float[Tensor, "row word"]
    """Of hesitation words, at the tokens that one follows."""
    document: Int[Tensor, " word"]
    """The document of each of these tokens."""
    loss: Float[Tensor, "row document"]
    """−log p of the next token, in nats, on average over all other tokens of a document."""

    def mean_probability(self, arm: str) -> Estimate:
        """The mean over draws and tokens, with an interval over draws and documents."""
        return over_seeds(self.probability[self._rows(arm)], self.document)

    def cut(self, arm: str) -> Estimate:
        """The share of the unchanged adapter's mean probability that is gone."""
        before = self.probability[:1]
        return over_seeds((before - self.probability[self._rows(arm)]) / before.mean(), self.document)

    def cost(self, arm: str) -> Estimate:
        """The rise of the loss elsewhere, in nats a token."""
        return over_seeds(self.loss[self._rows(arm)] - self.loss[:1])

    def _rows(self, arm: str) -> list[int]:
        return list(self.arms[arm])


@torch.no_grad()
def predict_without(
    run: AdapterRun, arms: Mapping[str, Sequence[Sequence[Latent]]], word_ids: Sequence[int], *, read: int, tokens: int
) -> OnText | None:
    """Predict `tokens` tokens of the held-out text behind the first `read`, without the latents of every arm's draws.

    Returns None where the text ends before, or holds no hesitation word there.
    """
    models, ids = run.models, torch.tensor(sorted(word_ids))
    draws = [draw for each in arms.values() for draw in each]
    adapters = [models.adapter, *map(models.without, draws)]
    parts = [_of_batch(models, adapters, batch, ids) for batch in _behind(run, read, tokens)]
    if not parts or not sum(len(document) for _, document, _ in parts):
        return None
    sizes = torch.tensor([0, *(loss.shape[1] for _, _, loss in parts)]).cumsum(dim=0)
    numbers = iter(range(1, len(adapters)))
    return OnText(
        arms={arm: [next(numbers) for _ in each] for arm, each in arms.items()},
        probability=torch.cat([probability for probability, _, _ in parts], dim=1),
        document=torch.cat([part[1] + start for part, start in zip(parts, sizes, strict=False)]),
        loss=torch.cat([loss for _, _, loss in parts], dim=1),
    )


def _behind(run: AdapterRun, read: int, tokens: int) -> Iterator[TokenBatch]:
    """Whole batches of the text behind its first `read` tokens."""
    before = 0
    for batch in track(run.tokens(), "predicting text", "batches"):
        if before >= read + tokens:
            return
        if before >= read:
            yield batch
        before += int(batch.attention_mask[:, 1:].sum())  # as they were counted when latents were chosen


def _of_batch(
    models: AdaptedModel, adapters: Sequence[TracedModel], batch: TokenBatch, word_ids: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities [row, word], the documents of those words, and losses [row, document] of one batch."""
    following, real = batch.input_ids[:, 1:], batch.attention_mask[:, 1:].bool()
    words = torch.isin(following, word_ids) & real
    others = (real & ~words).float()
    probability, loss = [], []
    for adapter in adapters:
        logits = adapter.logits(batch.input_ids, batch.attention_mask)[:, :-1].float().cpu()
        predicted = logits.log_softmax(dim=-1)
        probability.append(predicted[words][:, word_ids].exp().sum(dim=1))
        each = -predicted.gather(-1, following[..., None])[..., 0]
        loss.append((each * others).sum(dim=1) / others.sum(dim=1).clamp(min=1))
    return torch.stack(probability), words.nonzero()[:, 0], torch.stack(loss)
