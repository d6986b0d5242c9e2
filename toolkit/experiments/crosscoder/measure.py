"""What a trained crosscoder is worth on held-out tokens: reconstruction, splices, decoder norms, planted behaviours."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from math import isnan
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.metrics import DictionaryMetrics, evaluate_each
from toolkit.dictionaries.stability import Stability, stability_of_each
from toolkit.experiments.crosscoder.study import Persistence, groups_of, persistence
from toolkit.harvest.choices import EMBEDDED
from toolkit.harvest.documents import Corpus
from toolkit.harvest.tokens import TokenBatch
from toolkit.interventions.splice import SpliceEffect, splice_effects
from toolkit.latents.behaviours import FoundBehaviour, find_behaviours, planted_behaviours
from toolkit.latents.classification import LatentClasses, classify_fired
from toolkit.latents.labelled_activations import labelled_activations
from toolkit.latents.span_information import SpanInformation, span_information
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.models.model_set import ModelSet
from toolkit.models.streams import stream_name
from toolkit.settings.crosscoder_run import MaskSettings, TextSettings
from toolkit.statistics.estimates import Estimate
from toolkit.tracking import track
from toolkit.training.streams import fitting_tokens, open_activations, open_mask, open_tokens
from toolkit.training.training_run import TrainingRun

SPLICED_TOKENS = 16_384
BEHAVIOUR_DOCUMENTS = 512


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of one crosscoder."""

    dictionary: DictionaryMetrics
    decoders: LatentClasses
    splices: list[SpliceEffect]

    @property
    def alive(self) -> Bool[Tensor, " latent"]:
        """Which latents fired."""
        return self.dictionary.firing_counts > 0

    @cached_property
    def groups(self) -> dict[str, Bool[Tensor, " latent"]]:
        """Its latents in groups; see `groups_of`."""
        return dict(groups_of(self.dictionary, self.decoders))

    def metrics(self, models: ModelSet) -> dict[str, Any]:
        """The figures of `metrics.json`; with several layers, per layer too."""
        kls = {stream_name(s.model, s.layer, models.layers): s for s in self.splices}
        mean_nrn, in_training = self.decoders.mean_nrn, self.decoders.mean_nrn_training_units
        return {
            **{f"fve_{name}": value for name, value in self.dictionary.fve.items()},
            "l0": self.dictionary.l0,
            "dead_share": self.dictionary.dead_share,
            **_with_intervals({f"kl_spliced_{name}": splice.kl for name, splice in kls.items()}),
            **_with_intervals({f"kl_mean_ablated_{name}": splice.kl_mean for name, splice in kls.items()}),
            **_with_intervals({f"loss_recovered_{name}": splice.loss_recovered for name, splice in kls.items()}),
            "mean_nrn": mean_nrn.value,
            "mean_nrn_interval": [mean_nrn.low, mean_nrn.high],
            "mean_nrn_activation_weighted": self.decoders.mean_nrn_weighted,
            "neutral": self.decoders.neutral,
            "mean_nrn_training_units": in_training.value,
            "mean_nrn_training_units_interval": [in_training.low, in_training.high],
            "held_out_tokens": self.dictionary.tokens,
        }


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything measured after training."""

    by_seed: dict[int, Measured]
    """What was measured of each crosscoder, the run's own first."""
    matched: dict[int, list[Stability]]
    """How well each crosscoder's latents are found again in each of the others; empty lists where there are none."""
    behaviours: list[FoundBehaviour] | None
    """The planted behaviours, where the text has any."""
    information: SpanInformation | None
    """Where the information on them is, for the run's own crosscoder."""

    @property
    def own(self) -> Measured:
        """What was measured of the run's own crosscoder."""
        return next(iter(self.by_seed.values()))

    @cached_property
    def persistence(self) -> dict[str, Persistence]:
        """How well groups of latents persist from seed to seed; empty for one crosscoder."""
        return persistence({seed: each.groups for seed, each in self.by_seed.items()}, self.matched)

    def matches(self, figure: Literal["best", "chance"]) -> Float[Tensor, " latent"]:
        """The best matches of all latents that fire, of each crosscoder in each other one, or what chance gives."""
        read = [(each, own.alive) for seed, own in self.by_seed.items() for each in self.matched[seed]]
        return torch.cat([getattr(each, figure)[alive] for each, alive in read])

    def metrics(self, models: ModelSet) -> dict[str, Any]:
        """The figures of `metrics.json`: those of the run's own crosscoder; "seeds" holds those of each."""
        each = {str(seed): measured.metrics(models) for seed, measured in self.by_seed.items()}
        persist = {name: group.results() for name, group in self.persistence.items()}
        return self.own.metrics(models) | {"seeds": each} | ({"persistence": persist} if persist else {})


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


def evaluate_crosscoders(
    text: TextSettings,
    mask: MaskSettings,
    models: ModelSet,
    corpus: Corpus,
    crosscoders: Mapping[int, Crosscoder],
    *,
    seed: int,
) -> Evaluation:
    """Measure crosscoders, by seed, on `text.held_out_tokens` tokens that training never saw.

    The models read the text once for all of them. The planted behaviours of the embedded text are looked for, too.
    Raises `ValueError` for a crosscoder of which fewer than two latents fire.
    """
    stream = open_activations(text, mask, models, corpus.held_out, seed=seed)
    read = _first_tokens(stream, text.held_out_tokens)
    shown: Iterable[Tensor] = track(read, "reading text", "tokens", total=text.held_out_tokens, size=len)
    dictionaries = evaluate_each([*crosscoders.values()], shown)
    for each in dictionaries:
        _check_alive(each)
    # Whole logits of a batch are held at once, so with a large vocabulary a batch has few rows.
    batch_tokens = fitting_tokens(text, LARGEST_LOGITS, models.vocab_size)
    tokens = open_tokens(text, models, corpus.held_out, seed=seed, batch_tokens=batch_tokens)
    batches = islice(tokens, max(1, text.held_out_tokens // batch_tokens))
    some = random_rows(batches, SPLICED_TOKENS / text.held_out_tokens, torch.Generator().manual_seed(seed))
    splices = splice_effects(models, [*crosscoders.values()], some, open_mask(mask, models), mean=dictionaries[0].mean)
    behaviours = information = None
    if text.data == EMBEDDED:
        labelled = planted_behaviours(BEHAVIOUR_DOCUMENTS)
        data = labelled_activations(models, open_mask(mask, models), labelled, text.row_length)
        behaviours = find_behaviours(crosscoders, data, seed=seed)
        information = span_information(crosscoders[seed], data)
    measured = [
        Measured(
            dictionary=found,
            decoders=classify_fired(
                crosscoder, found.firing_counts, found.activation_mass, torch.Generator().manual_seed(seed)
            ),
            splices=effects,
        )
        for crosscoder, found, effects in zip(crosscoders.values(), dictionaries, splices, strict=True)
    ]
    return Evaluation(
        by_seed=dict(zip(crosscoders, measured, strict=True)),
        matched=stability_of_each(crosscoders, seed=seed),
        behaviours=behaviours,
        information=information,
    )


def _check_alive(found: DictionaryMetrics) -> None:
    if (alive := int((found.firing_counts > 0).sum())) < 2:
        raise ValueError(
            f"{alive} of {len(found.firing_counts)} latents fired on {found.tokens:,} held-out tokens, and two are"
            " needed: lower --sparsity-coefficient, or train on more --tokens"
        )


def random_rows(batches: Iterable[TokenBatch], share: float, generator: torch.Generator) -> Iterator[TokenBatch]:
    """Of each batch a random share of its documents: batches hold documents of like length, a few of them no sample."""
    for batch in batches:
        chosen = torch.rand(len(batch.input_ids), generator=generator) < share
        if chosen.any():
            yield TokenBatch(batch.input_ids[chosen], batch.attention_mask[chosen])


def _with_intervals(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    values = {key: None if isnan(each.value) else each.value for key, each in estimates.items()}
    return values | {f"{key}_interval": [each.low, each.high] for key, each in estimates.items()}


def _first_tokens(chunks: Iterable[Tensor], wanted: int) -> Iterator[Tensor]:
    left = wanted
    for chunk in chunks:
        yield chunk[:left].float()
        left -= len(chunk)
        if left <= 0:
            return
