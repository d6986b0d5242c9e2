"""Designated latents: the first `n_shared` belong to all models, the next `n_exclusive` to each model alone.

Both constraints are orthogonal projections of the decoder: shared rows are averaged over models, foreign rows
of exclusive latents are zero. Projecting the initial decoder and every gradient keeps them throughout training, because
Adam treats equal entries equally. Source: Lindsey et al. 2024, "Insights on crosscoder model diffing".
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Partition:
    """How many latents are designated, among how many models."""

    n_models: int
    """Models on the stream axis."""
    n_shared: int
    """Latents with one decoder row for all models."""
    n_exclusive: int
    """Latents of each model whose decoder rows for other models are zero."""

    @property
    def is_empty(self) -> bool:
        """Whether no latent is designated."""
        return self.n_shared == self.n_exclusive == 0

    def owned(self, model: int) -> slice:
        """Latents that are exclusive to `model`."""
        start = self.n_shared + model * self.n_exclusive
        return slice(start, start + self.n_exclusive)

    def project_(self, decoder: Float[Tensor, "latent width"], first: int = 0) -> None:
        """Project decoder rows, or their gradient, onto the partition in place; width is stream × d_model.

        first: the latent of the first row, where `decoder` holds a part of the rows.
        """
        rows = decoder.view(len(decoder), self.n_models, -1)  # streams are model-major
        if self.n_shared:
            shared = rows[_within(slice(0, self.n_shared), first)]
            shared.copy_(shared.mean(dim=1, keepdim=True).expand_as(shared))
        if self.n_exclusive:
            for model in range(self.n_models):
                owned = rows[_within(self.owned(model), first)]
                owned[:, :model] = 0
                owned[:, model + 1 :] = 0


def _within(latents: slice, first: int) -> slice:
    return slice(max(0, latents.start - first), max(0, latents.stop - first))
