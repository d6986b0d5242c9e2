"""Which tokens a latent speaks for: its two decoder rows read by each model's unembedding."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.arguments import Indices
from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.models.model.unembedding import direction_tokens
from toolkit.models.pair import ModelPair


@dataclass(frozen=True, kw_only=True)
class TokenLens:
    """The tokens that one model's decoder rows promote and suppress most, strongest first."""

    promoted: Int[Tensor, "latent token"]
    promoted_logits: Float[Tensor, "latent token"]
    suppressed: Int[Tensor, "latent token"]
    suppressed_logits: Float[Tensor, "latent token"]


def logit_lens(pair: ModelPair, crosscoder: Crosscoder, latents: Indices, *, tokens: int = 10) -> dict[str, TokenLens]:
    """Return, by model, the `tokens` tokens at either end of each latent's direct effect on the logits.

    Unit: logits of a stream that is the latent alone, of length √d_model, shared between the models as their decoder
    norms are; so a model whose row is next to nothing promotes next to nothing. With several layers the last one's
    rows are read. Logits of at most 2²⁶ tokens are held at a time.
    """
    rows = crosscoder.W_dec[check_latents(latents, crosscoder.config.n_latents)]
    last = rows.unflatten(1, (len(pair.names), -1))[:, :, -1]  # [latent, model, d_model]
    norms = last.norm(dim=2)
    share = norms / norms.sum(dim=1, keepdim=True).clamp(min=torch.finfo(norms.dtype).tiny)
    chunk = max(1, LARGEST_LOGITS // pair.vocab_size)
    lenses = {}
    for index, (name, model) in enumerate(zip(pair.names, (pair.base, pair.distilled), strict=True)):
        up, promoted, down, suppressed = direction_tokens(
            model, last[:, index], vocabulary=len(pair.tokenizer), tokens=tokens, together=chunk
        )
        weight = share[:, index, None].cpu()
        up, down = up * weight, down * weight
        lenses[name] = TokenLens(promoted=promoted, promoted_logits=up, suppressed=suppressed, suppressed_logits=down)
    return lenses
