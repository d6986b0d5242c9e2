"""Which latents are one model's only, which are shared, and which only look exclusive?"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from toolkit.dictionaries.latent_scaling import ScalingRatios
from toolkit.experiments.latent_classes import LatentClassesConfig
from toolkit.experiments.latent_classes.seeds import BothPairs, classes_by_seed
from toolkit.experiments.run import Run
from toolkit.latents.behaviours import FoundBehaviour, find_behaviours
from toolkit.latents.categories import categories, load_lexicon
from toolkit.latents.classification import LatentClasses, Tag, tags_of
from toolkit.latents.coded_batches import CodedBatch
from toolkit.latents.examples import TopExamples
from toolkit.latents.firing import FiringCounts
from toolkit.latents.labelled_activations import labelled_activations
from toolkit.latents.span_labels import LabelledDocuments, read_labelled_documents
from toolkit.latents.windows import Window
from toolkit.training.streams import open_mask

LEAST_FIRINGS = 20
"""A latent that fired on fewer tokens is not listed by name: its ν and lifts are chance."""


@dataclass(frozen=True, kw_only=True)
class LatentClassesResult:
    """What one pass over held-out text says of every latent; single latents are those of the run's own crosscoder."""

    pairs: BothPairs
    firing: FiringCounts
    listed: dict[str, list[int]]
    """By each of the two models that are compared its listed latents, the most exclusive first."""
    examples: dict[int, list[str]]
    """Of each listed latent the strongest firings, the token between « and »."""
    labelled: LabelledDocuments | None
    behaviours: list[FoundBehaviour]
    """How well latents find each label; none without labelled documents."""

    @property
    def classes(self) -> LatentClasses:
        """Which model each latent belongs to."""
        return self.pairs.own.classes

    @property
    def scaling(self) -> ScalingRatios:
        """Which latents are truly exclusive."""
        return self.pairs.own.scaling


def measure(settings: LatentClassesConfig, opened: Run) -> LatentClassesResult:
    """Read held-out text once with each pair, the run's and the null pair, and labelled documents where there are any.

    Raises `ValueError` for a lexicon or labels that cannot be used, for a null run whose crosscoder is of another
    shape, and where fewer than two latents fired.
    """
    labelled = read_labelled_documents(settings.labels) if settings.labels else None
    crosscoder, null, generator = opened.crosscoder, opened.null, torch.Generator().manual_seed(settings.seed)
    if null is not None:
        null.load()
    n_latents, device = crosscoder.config.n_latents, crosscoder.b_dec.device
    firing = FiringCounts(categories(opened.models.tokenizer, load_lexicon(settings.lexicon)), n_latents)
    window = Window(before=12, after=5)
    seen = TopExamples(n_latents, generator=generator, top=settings.examples, sampled=0, window=window, device=device)

    def watch(coded: CodedBatch) -> None:
        ids, mask = coded.batch.input_ids, coded.batch.attention_mask
        firing.add(ids, coded.selected, coded.codes)
        seen.add(ids, mask, coded.selected, coded.codes)

    seeds = classes_by_seed(opened, settings.tokens, draws=settings.seed, watch=watch)
    nulls = {} if null is None else classes_by_seed(null, settings.tokens, draws=settings.seed)
    pairs = BothPairs(seeds=seeds, null=nulls)
    listed = _most_exclusive(pairs.own.classes, firing.fired, settings.listed)
    behaviours: list[FoundBehaviour] = []
    if labelled:
        reading = opened.reading
        fresh = open_mask(reading.mask, opened.models)  # its counts are of other documents than the text's
        data = labelled_activations(opened.models, fresh, labelled, reading.text.row_length)
        behaviours = find_behaviours(opened.crosscoders, data, seed=settings.seed)
    return LatentClassesResult(
        pairs=pairs,
        firing=firing,
        listed=listed,
        examples={latent: _texts(opened, seen, latent) for latents in listed.values() for latent in latents},
        labelled=labelled,
        behaviours=behaviours,
    )


def _most_exclusive(classes: LatentClasses, fired: Int[Tensor, " latent"], listed: int) -> dict[str, list[int]]:
    """By model, latents at its end of the NRN scale, without those in the middle that are shared."""
    often = (fired >= LEAST_FIRINGS).nonzero().squeeze(1)
    order = often[classes.nrn[often].argsort(stable=True)].tolist()
    tags = classes.nrn_tags()
    ends = zip(classes.models, exclusive_tags(classes), (order[:listed], order[::-1][:listed]), strict=True)
    return {model: [latent for latent in end if tags[latent] == tag] for model, tag, end in ends}


def exclusive_tags(classes: LatentClasses) -> tuple[Tag, Tag]:
    """What a latent of either model's only is called."""
    first, _, last, *_ = tags_of(*classes.models)
    return first, last


def _texts(opened: Run, seen: TopExamples, latent: int) -> list[str]:
    tokenizer = opened.models.tokenizer
    return [example.text(tokenizer).replace("\n", "⏎") for example in seen.strongest(latent)]
