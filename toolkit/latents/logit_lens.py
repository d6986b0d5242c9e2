"""The logit lens: the tokens that a latent promotes and suppresses, from its decoder row and each unembedding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.latent_names import latent_number
from toolkit.adapters.modes import Latent
from toolkit.arguments import Indices, as_index
from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model.unembedding import direction_tokens
from toolkit.models.model_set import ModelSet

SHOWN, SHOWN_TOKENS = 10, 5


@dataclass(frozen=True, kw_only=True, repr=False)
class TokenLens:
    """The tokens that one model's decoder rows promote and suppress most, strongest first, one line for each latent."""

    latents: tuple[int, ...]
    promoted: Int[Tensor, "latent token"]
    promoted_logits: Float[Tensor, "latent token"]
    suppressed: Int[Tensor, "latent token"]
    suppressed_logits: Float[Tensor, "latent token"]
    pieces: Mapping[int, str]
    """The text of each of these tokens."""

    def tokens(self, latent: SupportsIndex, *, promoted: bool = True) -> list[tuple[str, float]]:
        """Return the tokens that a latent's row promotes most, or suppresses most, with their logits.

        Raises `ValueError` for a latent that was not asked for.
        """
        latent = as_index(latent, "latent")
        if latent not in self.latents:
            raise ValueError(f"latent {latent} was not read: give one of {', '.join(map(str, self.latents))}")
        line = self.latents.index(latent)
        ids, logits = (self.promoted, self.promoted_logits) if promoted else (self.suppressed, self.suppressed_logits)
        return [
            (self.pieces[token], logit) for token, logit in zip(ids[line].tolist(), logits[line].tolist(), strict=True)
        ]

    def __repr__(self) -> str:
        return "\n".join(self._line(latent) for latent in self.latents[:SHOWN])

    def _line(self, latent: int) -> str:
        ends = (self.tokens(latent, promoted=promoted)[:SHOWN_TOKENS] for promoted in (True, False))
        up, down = (", ".join(f"{piece!r} {logit:+.2f}" for piece, logit in end) for end in ends)
        return f"latent {latent}: {up} … {down}"


class LogitLens(dict[str, TokenLens]):
    """A `TokenLens` for each model name."""

    def __repr__(self) -> str:
        width = max(map(len, self))
        return "\n".join(f"{name:{width}} {line}" for name, lens in self.items() for line in repr(lens).splitlines())


def logit_lens(models: ModelSet, crosscoder: Crosscoder, latents: Indices, *, tokens: SupportsIndex = 10) -> LogitLens:
    """Return for each model the `tokens` tokens whose logits each latent raises most, and those that it lowers most.

    Unit: logits of a stream that is the latent's row alone, scaled to length √d_model, times the row's share of the
    summed norms of the latent's rows in all models; so a tiny row promotes almost nothing. With several layers the
    last one's rows are read. At most 2²⁶ logits are held in memory at a time.
    """
    tokens, numbers = as_index(tokens, "tokens"), check_latents(latents, crosscoder.config.n_latents)
    if not 1 <= tokens <= len(models.tokenizer):
        raise ValueError(f"tokens {tokens}: give 1 to {len(models.tokenizer)}, the tokens of the vocabulary")
    rows = crosscoder.W_dec[numbers]
    last = rows.unflatten(1, (len(models.names), -1))[:, :, -1]  # [latent, model, d_model]
    norms = last.norm(dim=2)
    share = norms / norms.sum(dim=1, keepdim=True).clamp(min=torch.finfo(norms.dtype).tiny)
    lenses = LogitLens()
    for index, (name, model) in enumerate(models.models.items()):
        lenses[name] = _token_lens(model, models.tokenizer, numbers, last[:, index], tokens, share[:, index, None])
    return lenses


def adapter_lens(models: AdaptedModel, latents: Sequence[Latent], *, tokens: int = 10) -> TokenLens:
    """Return the `tokens` tokens whose logits each latent (layer, index) of an adapter raises most, and lowers most.

    Unit: logits of a stream that is the latent's decoder row alone, scaled to length √d_model. Lines are named by
    `latent_number`. At most 2²⁶ logits are held in memory at a time.
    """
    n_latents = models.transcoders.config.n_latents
    rows = torch.stack([models.transcoders[layer].W_dec.detach()[index].float().cpu() for layer, index in latents])
    numbers = [latent_number(latent, n_latents) for latent in latents]
    return _token_lens(models.distilled, models.tokenizer, numbers, rows, tokens, torch.ones(len(rows), 1))


def _token_lens(
    model: TracedModel,
    tokenizer: PreTrainedTokenizerBase,
    latents: Sequence[int],
    rows: Float[Tensor, "latent d_model"],
    tokens: int,
    weight: Float[Tensor, "latent 1"],
) -> TokenLens:
    """The lens of these rows, with logits times `weight`."""
    up, promoted, down, suppressed = direction_tokens(
        model,
        rows,
        vocabulary=len(tokenizer),
        tokens=tokens,
        together=max(1, LARGEST_LOGITS // model.vocab_size),
    )
    ids = torch.cat([promoted, suppressed]).unique().tolist()
    return TokenLens(
        latents=tuple(latents),
        promoted=promoted,
        promoted_logits=up * weight.cpu(),
        suppressed=suppressed,
        suppressed_logits=down * weight.cpu(),
        pieces=dict(zip(ids, tokenizer.batch_decode([[token] for token in ids]), strict=True)),
    )
