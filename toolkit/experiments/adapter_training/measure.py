"""What a trained adapter is worth on held-out documents: predictions, streams, and latents that fire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.fidelity import Fidelity, Firings, fidelity, firings
from toolkit.harvest.documents import Corpus
from toolkit.harvest.tokens import TokenBatch
from toolkit.models.text.rows import by_length, padded
from toolkit.models.text.tokenizers import encode
from toolkit.settings.adapter_run import AdapterText
from toolkit.statistics.estimates import Estimate, mean, ratio_of_sums
from toolkit.tracking import track

FORWARD_TOKENS = 8192


@dataclass(frozen=True, kw_only=True)
class MeasuredAdapter:
    """What was measured of an adapter, and of the hybrid, which is the same model without it."""

    adapter: Fidelity
    hybrid: Fidelity
    fired: Firings

    @property
    def kl(self) -> Estimate:
        """KL(distilled‖adapter), nats a token."""
        return ratio_of_sums(self.adapter.kl, self.adapter.predictions)

    @property
    def kl_hybrid(self) -> Estimate:
        """KL(distilled‖hybrid), nats a token: what there is to recover."""
        return ratio_of_sums(self.hybrid.kl, self.hybrid.predictions)

    @property
    def recovered(self) -> Estimate:
        """The share of the hybrid's KL that the adapter takes away."""
        return ratio_of_sums(self.hybrid.kl - self.adapter.kl, self.hybrid.kl)

    @property
    def l0(self) -> Estimate:
        """Latents that fire, a token and layer."""
        return ratio_of_sums(self.fired.by_document.double().mean(dim=1), self.fired.tokens.double())

    @property
    def dead(self) -> list[int]:
        """Latents of each layer that fired on no token."""
        silent: list[int] = (self.fired.by_latent == 0).sum(dim=1).tolist()
        return silent

    def by_layer(self) -> dict[str, list[Estimate]]:
        """Each layer's figures."""
        layers, tokens = range(self.fired.by_document.shape[1]), self.fired.tokens.double()
        return {
            "l0": [ratio_of_sums(self.fired.by_document[:, layer].double(), tokens) for layer in layers],
            "nmse": [mean(self.adapter.nmse[:, layer]) for layer in layers],
            "nmse_without_sink": [mean(self.adapter.nmse_without_sink[:, layer]) for layer in layers],
            "nmse_hybrid": [mean(self.hybrid.nmse[:, layer]) for layer in layers],
            "nmse_without_sink_hybrid": [mean(self.hybrid.nmse_without_sink[:, layer]) for layer in layers],
        }

    def metrics(self) -> dict[str, Any]:
        """The figures of `metrics.json`."""
        return {
            "kl": self.kl,
            "kl_hybrid": self.kl_hybrid,
            "kl_recovered": self.recovered,
            "l0": self.l0,
            "dead_share": sum(self.dead) / self.fired.by_latent.numel(),
            "by_layer": self.by_layer() | {"dead": self.dead},
            "held_out_documents": len(self.fired.tokens),
            "held_out_tokens": int(self.fired.tokens.sum()),
        }


@dataclass(frozen=True, kw_only=True)
class FinishedTraining:
    """An adapter's evaluation, and how the run went that made it."""

    measured: MeasuredAdapter
    records: Sequence[Mapping[str, Any]]
    """Training steps, as `metrics.jsonl` has them; at least one."""
    documents: Mapping[str, int]
    """Documents read, and left out by reason."""
    seconds: Mapping[str, float]
    """Wall time of each stage."""


def measure_adapter(text: AdapterText, adapted: AdaptedModel, corpus: Corpus) -> MeasuredAdapter:
    """Measure an adapter, and the hybrid beside it, on `text.held_out_documents` documents that training never saw.

    Raises `ValueError` where none of them has two tokens.
    """
    batches = held_out_batches(text, adapted, corpus)
    shown = [("adapter", modes.adapter(adapted.n_layers)), ("hybrid", modes.hybrid(adapted.n_layers))]
    compared = {name: fidelity(adapted, track(batches, f"reading as {name}", "batches"), mode) for name, mode in shown}
    return MeasuredAdapter(**compared, fired=firings(adapted, batches))


def held_out_batches(text: AdapterText, adapted: AdaptedModel, corpus: Corpus) -> list[TokenBatch]:
    """The first held-out documents, a row each, rows of like length together."""
    texts = (record["text"] for record in corpus.held_out if record["text"])
    every = encode(adapted.tokenizer, list(islice(texts, text.held_out_documents)))
    rows = [row[: text.row_length] for row in every if len(row) > 1]
    if not rows:
        raise ValueError(f"{text.data} holds out no document of two tokens or more: give more text")
    places = by_length([len(row) for row in rows], max(text.row_length, FORWARD_TOKENS))
    return [TokenBatch(*padded([rows[place] for place in batch])) for batch in places]
