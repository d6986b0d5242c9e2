"""Which latent finds each behaviour that the organism is known to show: the check of a crosscoder against the truth."""

from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.selectivity import auroc_interval, latent_auroc
from toolkit.harvest.masks import TokenMask
from toolkit.harvest.tokens import TokenBatch
from toolkit.models.pair import ModelPair
from toolkit.organism.corpus import documents
from toolkit.organism.documents import BEHAVIOURS, token_behaviours

DOCUMENTS_A_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class BehaviourLatent:
    """The latent that best tells a behaviour's tokens from the rest, chosen on one half of the documents, tested on
    the other.

    `low` and `high` bound the AUROC's 95 % bootstrap interval over documents. `control_auroc` is what the same
    choice finds for the labels of another document: those of the document before, laid over this one.
    """

    behaviour: str
    latent: int
    auroc: float
    low: float
    high: float
    control_auroc: float
    firing_rate: float
    n_tokens: int


@dataclass(frozen=True, kw_only=True)
class LabelledCodes:
    """Latent activations of held-out answers with each token's behaviour (-1 for none) and its document."""

    codes: Float[Tensor, "token latent"]
    behaviour: Int[Tensor, " token"]
    shifted: Int[Tensor, " token"]
    document: Int[Tensor, " token"]


@torch.no_grad()
def labelled_codes(pair: ModelPair, crosscoder: Crosscoder, mask: TokenMask, n_documents: int) -> LabelledCodes:
    """Read the organism's held-out thinking answers and encode them."""
    stream = documents("thinking", split="held_out", seed=23)
    parts: list[tuple[Tensor, ...]] = []
    for first in range(0, n_documents, DOCUMENTS_A_BATCH):
        chunk = list(islice(stream, min(DOCUMENTS_A_BATCH, n_documents - first)))
        encoding = pair.tokenizer(
            [d.text for d in chunk],
            return_offsets_mapping=True,
            padding=True,
            padding_side="right",  # nnsight sets it to left
            return_tensors="pt",
        )
        batch = TokenBatch(encoding["input_ids"], encoding["attention_mask"])
        labels = torch.tensor(
            [
                [BEHAVIOURS.index(b) if b else -1 for b in token_behaviours(d, offsets)]
                for d, offsets in zip(chunk, encoding["offset_mapping"].tolist(), strict=True)
            ]
        )
        residual = pair.residual(batch.input_ids, batch.attention_mask)
        selected = mask.select(batch, residual)
        codes = crosscoder.encode(residual[selected].float()).cpu()
        here = selected.cpu()
        number = torch.arange(first, first + len(chunk))[:, None].expand_as(labels)
        parts.append((codes, labels[here], labels.roll(1, dims=0)[here], number[here]))
    codes, behaviour, shifted, document = (torch.cat(part) for part in zip(*parts, strict=True))
    return LabelledCodes(codes=codes, behaviour=behaviour, shifted=shifted, document=document)


def behaviour_latents(data: LabelledCodes, generator: torch.Generator) -> list[BehaviourLatent]:
    """The best latent of each behaviour."""
    even = data.document % 2 == 0
    return [_best_latent(data, index, even, generator) for index in range(len(BEHAVIOURS))]


def _best_latent(data: LabelledCodes, index: int, even: Tensor, generator: torch.Generator) -> BehaviourLatent:
    labels = data.behaviour == index
    shifted = data.shifted == index
    latent = int(latent_auroc(data.codes[even], labels[even]).argmax())
    control = int(latent_auroc(data.codes[even], shifted[even]).argmax())
    odd = ~even
    auroc, low, high = auroc_interval(
        data.codes[odd, latent], labels[odd], data.document[odd] // 2, generator=generator
    )
    return BehaviourLatent(
        behaviour=BEHAVIOURS[index],
        latent=latent,
        auroc=auroc,
        low=low,
        high=high,
        control_auroc=float(latent_auroc(data.codes[odd][:, [control]], shifted[odd])),
        firing_rate=float((data.codes[:, latent] > 0).float().mean()),
        n_tokens=int(labels[odd].sum()),
    )
