"""What a trained crosscoder is worth on held-out tokens: reconstruction, splices, decoder norms, planted behaviours."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.metrics import DictionaryMetrics, evaluate
from toolkit.harvest.choices import EMBEDDED
from toolkit.harvest.documents import Corpus
from toolkit.interventions.splice import SpliceEffect, splice_effects
from toolkit.latents.behaviours import FoundBehaviour, find_behaviours, planted_behaviours
from toolkit.latents.classification import LatentClasses, classify_fired
from toolkit.latents.labelled_activations import labelled_activations
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.models.model_set import ModelSet
from toolkit.models.streams import stream_name
from toolkit.settings.crosscoder_run import MaskSettings, TextSettings
from toolkit.tracking import track
from toolkit.training.streams import fitting_tokens, open_activations, open_mask, open_tokens
from toolkit.training.training_run import TrainingRun

SPLICED_TOKENS = 16_384
BEHAVIOUR_DOCUMENTS = 512


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything measured after training."""

    dictionary: DictionaryMetrics
    alive: Bool[Tensor, " latent"]
    decoders: LatentClasses
    splices: list[SpliceEffect]
    behaviours: list[FoundBehaviour] | None

    def metrics(self, models: ModelSet) -> dict[str, Any]:
        """The figures of `metrics.json`; with several layers, per layer too."""
        kls = {stream_name(s.model, s.layer, models.layers): s for s in self.splices}
        mean_nrn, in_training = self.decoders.mean_nrn, self.decoders.mean_nrn_training_units
        return {
            **{f"fve_{name}": value for name, value in self.dictionary.fve.items()},
            "l0": self.dictionary.l0,
            "dead_share": self.dictionary.dead_share,
            **{f"kl_spliced_{name}": splice.kl for name, splice in kls.items()},
            **{f"kl_mean_ablated_{name}": splice.kl_mean for name, splice in kls.items()},
            **{f"loss_recovered_{name}": splice.loss_recovered for name, splice in kls.items()},
            "mean_nrn": mean_nrn.value,
            "mean_nrn_interval": [mean_nrn.low, mean_nrn.high],
            "mean_nrn_activation_weighted": self.decoders.mean_nrn_weighted,
            "neutral": self.decoders.neutral,
            "mean_nrn_training_units": in_training.value,
            "mean_nrn_training_units_interval": [in_training.low, in_training.high],
            "held_out_tokens": self.dictionary.tokens,
        }


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A crosscoder's evaluation, and how the run went that made it."""

    evaluation: Evaluation
    records: Sequence[Mapping[str, Any]]
    """Training steps, as `metrics.jsonl` has them; at least one."""
    masks: Mapping[str, int]
    """Tokens kept, then tokens dropped, by reason."""
    documents: Mapping[str, int]
    """Documents read, and left out by reason."""
    seconds: Mapping[str, float]
    """Wall time of each stage."""

    @classmethod
    def of(
        cls,
        run: TrainingRun,
        evaluation: Evaluation,
        records: Sequence[Mapping[str, Any]],
        seconds: Mapping[str, float],
    ) -> "FinishedRun":
        """What a training run leaves to be told."""
        return cls(evaluation=evaluation, records=records, masks=run.masks, documents=run.documents, seconds=seconds)

    def __post_init__(self) -> None:
        if not self.records:
            raise ValueError("a finished run has no training step to draw curves of: metrics.jsonl is empty or missing")


def evaluate_crosscoder(
    text: TextSettings,
    mask: MaskSettings,
    models: ModelSet,
    corpus: Corpus,
    crosscoders: Mapping[int, Crosscoder],
    *,
    seed: int,
) -> Evaluation:
    """Measure the crosscoder of this seed on `text.held_out_tokens` tokens that training never saw.

    In the embedded text, planted behaviours are searched with the crosscoders of all seeds.
    """
    crosscoder = crosscoders[seed]
    stream = open_activations(text, mask, models, corpus.held_out, seed=seed)
    read = _first_tokens(stream, text.held_out_tokens)
    shown: Iterable[Tensor] = track(read, "reading text", "tokens", total=text.held_out_tokens, size=len)
    dictionary = evaluate(crosscoder, shown)
    alive = dictionary.firing_counts > 0
    if alive.sum() < 2:
        raise ValueError(
            f"{int(alive.sum())} of {len(alive)} latents fired on {dictionary.tokens:,} held-out tokens, and two are"
            " needed: lower --sparsity-coefficient, or train on more --tokens"
        )
    # Whole logits of a batch are held at once, so with a large vocabulary a batch has few rows.
    batch_tokens = fitting_tokens(text, LARGEST_LOGITS, models.vocab_size)
    tokens = open_tokens(text, models, corpus.held_out, seed=seed, batch_tokens=batch_tokens)
    batches = islice(tokens, max(1, min(SPLICED_TOKENS, text.held_out_tokens) // batch_tokens))
    splices = splice_effects(models, crosscoder, batches, open_mask(mask, models), mean=dictionary.mean)
    behaviours = None
    if text.data == EMBEDDED:
        labelled = planted_behaviours(BEHAVIOUR_DOCUMENTS)
        data = labelled_activations(models, open_mask(mask, models), labelled, text.row_length)
        behaviours = find_behaviours(crosscoders, data, seed=seed)
    return Evaluation(
        dictionary=dictionary,
        alive=alive,
        decoders=classify_fired(
            crosscoder, dictionary.firing_counts, dictionary.activation_mass, torch.Generator().manual_seed(seed)
        ),
        splices=splices,
        behaviours=behaviours,
    )


def _first_tokens(chunks: Iterable[Tensor], wanted: int) -> Iterator[Tensor]:
    left = wanted
    for chunk in chunks:
        yield chunk[:left].float()
        left -= len(chunk)
        if left <= 0:
            return
