"""How well each latent's activation alone tells labelled tokens from the rest."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedCodes:
    """Activations above zero, latent after latent, with their ranks among those of the latent: for many labellings."""

    token: Int[Tensor, " firing"]
    latent: Int[Tensor, " firing"]
    rank: Float[Tensor, " firing"]
    fired: Int[Tensor, " latent"]
    """Tokens on which each latent fires."""

    @classmethod
    def of(cls, codes: Float[Tensor, "token latent"]) -> "RankedCodes":
        """Sort the activations above zero of every latent; codes may be a sparse tensor."""
        sparse = codes.to_sparse().coalesce()
        token, latent = sparse.indices()
        value = sparse.values()
        order = torch.argsort(value, stable=True)
        order = order[torch.argsort(latent[order], stable=True)]
        token, latent, value = token[order], latent[order], value[order]
        fired = torch.bincount(latent, minlength=codes.shape[1])
        start = fired.cumsum(0) - fired
        differs = torch.ones_like(latent, dtype=torch.bool)
        differs[1:] = (latent[1:] != latent[:-1]) | (value[1:] != value[:-1])
        tie = differs.cumsum(0) - 1
        size = torch.bincount(tie)
        rank = (size.cumsum(0) - (size - 1) / 2)[tie] - start[latent]  # equal activations share their mean rank
        return cls(token=token, latent=latent, rank=rank, fired=fired)

    def auroc(self, labels: Bool[Tensor, " token"]) -> Float[Tensor, " latent"]:
        """AUROC of every latent for the labelled tokens.

        Tokens where a latent is silent tie with each other and count half. A latent that never fires gets 0.5.
        """
        positive = labels[self.token]
        rank_sum = torch.zeros(len(self.fired), dtype=torch.float64, device=self.rank.device)
        rank_sum.index_add_(0, self.latent[positive], self.rank[positive].double())
        hits = torch.bincount(self.latent[positive], minlength=len(self.fired))
        n_positive, n_negative = labels.sum(), (~labels).sum()
        false_alarms = self.fired - hits
        # Mann-Whitney: firing positives beat silent negatives, and those firing negatives that rank below them.
        wins = rank_sum - hits * (hits + 1) / 2 + hits * (n_negative - false_alarms)
        ties = (n_positive - hits) * (n_negative - false_alarms)
        return ((wins + ties / 2) / (n_positive * n_negative)).float()
