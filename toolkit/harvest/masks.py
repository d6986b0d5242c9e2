"""Which tokens count: neither padding, nor position 0, nor chosen special tokens, nor activations of outlier norm."""

from collections import Counter
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.harvest.tokens import CUT_OFF, DOCUMENTS, TokenBatch

MEDIANS_KEPT = 64
DROPPED = ("padding", "position_0", "special", "outlier_norm", CUT_OFF)
"""Why tokens do not count."""


class TokenMask:
    """Selects tokens and counts, by reason, what it drops; with them, what became of the documents they come from.

    A running median of each stream's norms (over the last 64 batches' medians) is the yardstick of the outlier filter:
    models of the Qwen family have attention sinks of more than 100 times the median norm at unforeseeable positions.
    """

    def __init__(self, *, special_ids: frozenset[int], keep_position_0: bool, outlier_factor: float) -> None:
        if not outlier_factor > 1:
            raise ValueError(
                f"--outlier-factor {outlier_factor}: must be above 1 (10 is usual, inf turns the filter off)"
            )
        self._special_ids = torch.tensor(sorted(special_ids), dtype=torch.long)
        self._keep_position_0, self._outlier_factor = keep_position_0, outlier_factor
        self._medians: list[list[float]] = []
        self.counts: Counter[str] = Counter(dict.fromkeys((*DROPPED, "kept", *DOCUMENTS), 0))

    def judge(self, batch: TokenBatch) -> tuple[Bool[Tensor, "row position"], Counter[str]]:
        """Tokens that may count, judged by their ids and positions, and how many do not, by reason; counts nothing."""
        real = batch.attention_mask.bool()
        first = torch.zeros_like(real)
        first[:, 0] = not self._keep_position_0
        special = torch.isin(batch.input_ids, self._special_ids)
        dropped = {"padding": ~real, "position_0": real & first, "special": real & ~first & special}
        counts = Counter({reason: int(those.sum()) for reason, those in dropped.items()})
        return real & ~first & ~special, counts + batch.counts

    def tokens(self, batch: TokenBatch) -> Bool[Tensor, "row position"]:
        """Tokens that may count, as `judge` finds them; the others are counted."""
        chosen, dropped = self.judge(batch)
        self.counts.update(dropped)
        return chosen

    def norms(self, activations: Float[Tensor, "token stream d_model"]) -> Bool[Tensor, " token"]:
        """Tokens whose norm is at most `outlier_factor` times the running median in every stream."""
        if not len(activations):
            return torch.ones(0, dtype=torch.bool, device=activations.device)
        norms = torch.linalg.vector_norm(activations, dim=2, dtype=torch.float32)
        self._medians = [*self._medians, norms.nanmedian(dim=0).values.tolist()][-MEDIANS_KEPT:]
        typical = torch.tensor(self._medians, device=norms.device).nanmedian(dim=0).values
        # NaN is no outlier to be dropped in silence: it is kept, so that the trainer meets it and stops.
        keep = ~(norms > self._outlier_factor * typical).any(dim=1)
        kept = int(keep.sum())
        self.counts["kept"] += kept
        self.counts["outlier_norm"] += len(keep) - kept
        return keep

    def state_dict(self) -> dict[str, Any]:
        """The running medians and the counts, as JSON."""
        return {"medians": self._medians, "counts": dict(self.counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._medians, self.counts = state["medians"], Counter(state["counts"])
