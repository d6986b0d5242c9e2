"""Labels against the truth: is the best latent of each labelled behaviour called what the behaviour is?"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.annotation.evidence import Name
from toolkit.annotation.labels import CATEGORIES, Category
from toolkit.annotation.rules import LEAST_LIFT, LEAST_SHARE
from toolkit.experiments.control import is_embedded
from toolkit.experiments.latent_annotation import LatentAnnotationConfig
from toolkit.experiments.run import Run
from toolkit.latents.behaviours import planted_behaviours, sparse_codes
from toolkit.latents.labelled_activations import LabelledTokens, labelled_activations
from toolkit.latents.labelled_units import units_for_labels
from toolkit.latents.span_labels import LabelledDocuments, read_labelled_documents
from toolkit.statistics.estimates import Estimate
from toolkit.training.streams import open_mask

MEANT: dict[str, Category] = {
    "contrast": "contrastive",
    "deduction": "deductive",
    "backtracking": "self-reflection",
    "uncertainty-estimation": "self-reflection",
    "example-testing": "verification",
    "adding-knowledge": "domain",
}
"""Categories that labels of spans stand for, beside labels that are called as a category is."""


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """A label of spans, and the latent that finds them best."""

    label: str
    category: Category
    latent: int
    """The best one by AUROC on even documents."""
    auroc: Estimate
    """On odd documents."""


@dataclass(frozen=True, kw_only=True)
class SpanTruth:
    """What labelled spans say of latents."""

    behaviours: tuple[Behaviour, ...] = ()
    categories: Mapping[Name, Category] = field(default_factory=dict)
    """Of latents that fire in the spans of one label far more than elsewhere, that label's category; counted on odd
    documents, so that a behaviour's best latent is chosen on others."""


def open_labelled(settings: LatentAnnotationConfig, opened: object) -> LabelledDocuments | None:
    """Labelled documents, where there are any; raises `ValueError` for a file that cannot be read."""
    if settings.spans is not None:
        return read_labelled_documents(settings.spans)
    if isinstance(opened, Run) and is_embedded(opened.models):
        return planted_behaviours(settings.labelled)
    return None


def span_truth(run: Run, labelled: LabelledDocuments) -> SpanTruth:
    """Read labelled documents; raises `ValueError` where no label has tokens in both halves of them."""
    reading = run.reading
    fresh = open_mask(reading.mask, run.models)  # its counts are of other documents than the text's
    data = labelled_activations(run.models, fresh, labelled, reading.text.row_length)
    codes = sparse_codes(run.crosscoder, data.activations)
    units = units_for_labels(codes, data.tokens, 1)
    return SpanTruth(
        behaviours=tuple(
            Behaviour(label=each.label, category=meant, latent=each.units[0], auroc=each.best.auroc)
            for each in units
            if (meant := category_of(each.label))
        ),
        categories=categories_of_spans(codes, data.tokens),
    )


def category_of(label: str) -> Category | None:
    """The category that a label of spans stands for."""
    return MEANT.get(label) or next((each for each in CATEGORIES if each == label), None)


def categories_of_spans(codes: Float[Tensor, "token latent"], tokens: LabelledTokens) -> dict[Name, Category]:
    """Return the categories of latents much of whose activation is in a label's spans, by the rules' own thresholds.

    Only odd documents are looked at.
    """
    tested = ~tokens.choosing
    total = _masses(codes, tested)
    best: dict[int, tuple[float, Category]] = {}
    for label in tokens.measurable:
        inside = tokens.wanted(label) & tested
        share = _masses(codes, inside) / total.clamp(min=1e-12)
        lift = share / (inside.sum() / tested.sum())
        if (meant := category_of(label)) is None:
            continue
        for latent in ((share >= LEAST_SHARE) & (lift >= LEAST_LIFT)).nonzero()[:, 0].tolist():
            best[latent] = max(best.get(latent, (0.0, meant)), (float(lift[latent]), meant))
    return {latent: category for latent, (_, category) in best.items()}


def _masses(codes: Float[Tensor, "token latent"], where: Bool[Tensor, " token"]) -> Float[Tensor, " latent"]:
    """Each latent's codes, summed over some tokens."""
    return (codes.t() @ where.to(codes.dtype)[:, None])[:, 0]
