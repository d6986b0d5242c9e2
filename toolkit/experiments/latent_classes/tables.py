"""The tables of `latent_classes`."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

import torch
from jaxtyping import Bool
from torch import Tensor

from toolkit.experiments.found_behaviours import behaviour_table
from toolkit.experiments.latent_classes.claims import claims, page_claims
from toolkit.experiments.latent_classes.measure import LEAST_FIRINGS, LatentClassesResult, exclusive_tags
from toolkit.experiments.latent_classes.seed_tables import seed_table
from toolkit.experiments.latent_classes.seeds import RULE
from toolkit.latents.choices import Place
from toolkit.latents.classification import Tag, tags_of
from toolkit.latents.span_labels import LabelledDocuments
from toolkit.reports.findings import Cell, Table, left_out_tables
from toolkit.reports.verdicts import verdict_table
from toolkit.statistics.estimates import GIVEN_ONE, Estimate
from toolkit.statistics.shares import wilson

NRN_BINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0)
FEW = 20
PLACES: tuple[Place, ...] = ("token", "predicting")


def latent_class_tables(found: LatentClassesResult) -> list[Table]:
    """All tables, the widest question first."""
    judged = page_claims(found)
    tables = [
        *([verdict_table(judged)] if judged else []),
        seed_table(found.pairs),
        _tag_table(found),
        _relation_table(found),
    ]
    for model, latents in reversed(found.listed.items()):
        if latents:
            tables += [_listed_table(model, latents, found), _example_table(model, latents, found)]
    tables.append(category_table(found))
    if found.labelled:
        tables.append(_label_table(found, found.labelled))
    _, left_out = found.firing.seen()
    return [*tables, *left_out_tables("category", left_out)]


def where_tagged(tags: Sequence[Tag], *wanted: Tag) -> Bool[Tensor, " latent"]:
    """Which latents have one of the wanted tags."""
    return torch.tensor([tag in wanted for tag in tags])


def wilson_share(chosen: Bool[Tensor, " latent"], among: Bool[Tensor, " latent"]) -> Estimate | None:
    """The share of `among` that is chosen, with its Wilson interval; None of none."""
    n = int(among.sum())
    return wilson(int((chosen & among).sum()), n) if n else None


def _tag_table(found: LatentClassesResult) -> Table:
    by_nrn, by_difference = found.classes.nrn_tags(), found.classes.norm_difference_tags()
    rows: list[list[Cell]] = []
    for tag in tags_of(*found.classes.models):
        cells: list[Cell] = [tag]
        for tags in (by_nrn, by_difference):
            here = where_tagged(tags, tag)
            cells += [int(here.sum()), None if tag == "dead" else wilson_share(found.scaling.survives, here)]
        rows.append(cells)
    first, last = exclusive_tags(found.classes)
    few = int(where_tagged(by_nrn, first, last).sum())
    warning = f" Only {few} latents are exclusive by NRN: read the relation below instead." if few < FEW else ""
    return Table(
        title="Tags, and the share of each that survives latent scaling",
        columns=("tag", "by NRN", "survive", "by norm difference", "survive"),
        rows=rows,
        note=f"The run's own crosscoder, in raw units. NRN (1-norms): {first} up to .3, {last} from .7 (Kissane et al."
        " 2024). Norm difference (2-norms): from .9 and up to .1, shared .4 to .6 (Minder et al. 2025). Survive: "
        f"{RULE}; intervals are Wilson's, {GIVEN_ONE}. What shared latents do is a control: ν asks for the own model's "
        f"direction, so a latent with unlike rows in the two models passes too.{warning}",
    )


def _relation_table(found: LatentClassesResult) -> Table:
    classes, scaling = found.classes, found.scaling
    rows: list[list[Cell]] = []
    for low, high in pairwise(NRN_BINS):
        here = classes.alive & (classes.nrn >= low) & ((classes.nrn < high) | (high == 1.0))
        if not here.any():
            continue
        medians = (values[here].nanmedian().item() for values in (scaling.nu_error, scaling.nu_reconstruction))
        cosine = classes.cosine[here].nanmedian().item()
        rows.append([f"{low:g} to {high:g}", int(here.sum()), *medians, wilson_share(scaling.survives, here), cosine])
    return Table(
        title="Latent scaling along NRN",
        columns=("NRN", "latents", "ν^ε", "ν^r", "survive", "cosine"),
        rows=rows,
        note=f"Alive latents; ν and cosine are medians. ν is near 0 for what the other model lacks. Survive: {RULE}.",
    )


def _listed_table(model: str, latents: Sequence[int], found: LatentClassesResult) -> Table:
    classes, scaling, firing = found.classes, found.scaling, found.firing
    first, last = classes.models
    columns = (classes.nrn, classes.rdn, classes.cosine, scaling.nu_error, scaling.nu_reconstruction)
    rows: list[list[Cell]] = [
        [
            f"{latent}",
            *(finite(values[latent].item()) for values in columns),
            "yes" if scaling.survives[latent] else "no",
            int(firing.fired[latent]),
        ]
        for latent in latents
    ]
    return Table(
        title=f"The most {model}-only latents",
        columns=("latent", "NRN", "RDN", "cosine", "ν^ε", "ν^r", "survives", "fired on"),
        rows=rows,
        note=f"By NRN, among latents that fired on at least {LEAST_FIRINGS} of {firing.tokens:,} tokens. RDN is"
        f" n_{last} / n_{first}. Latents are {GIVEN_ONE}: those of another seed are others.",
    )


def _example_table(model: str, latents: Sequence[int], found: LatentClassesResult) -> Table:
    rows: list[list[Cell]] = [
        [f"{latent}" if first else "", text]
        for latent in latents
        for first, text in zip((True, *[False] * len(found.examples[latent])), found.examples[latent], strict=False)
    ]
    return Table(
        title=f"What the most {model}-only latents fire on",
        columns=("latent", "strongest firings"),
        rows=rows,
        note=f"The token that the latent fires on stands between « and »; ⏎ is a line break. Latents are {GIVEN_ONE}.",
    )


def category_table(found: LatentClassesResult) -> Table:
    """The best latent of each category, on its tokens and before them."""
    seen, _ = found.firing.seen()
    rows = [row for index in seen.values() for row in (_category_row(found, index, place) for place in PLACES)]
    return Table(
        title="The latent with the largest lift for each category",
        columns=("category", "where", "n", "latent", "lift", "next", "P(fire|c)", "NRN"),
        rows=rows,
        note="Lift: P(fire | category) / P(fire). next: the latent's largest lift for another category. where: on the"
        " category's n tokens, or on those before, where they are predicted. Latents that fired on at least"
        f" {LEAST_FIRINGS} tokens, {GIVEN_ONE}; no interval: the latent is chosen by its lift.",
    )


def _category_row(found: LatentClassesResult, index: int, place: Place) -> list[Cell]:
    firing = found.firing
    lifts = torch.where(firing.fired >= LEAST_FIRINGS, firing.lift(place), 0.0)
    latent = int(lifts[index].argmax())
    name, n = firing.categories[index].name, int(firing.n[place][index])
    where = "on it" if place == "token" else "before"
    if lifts[index, latent] == 0:
        return [name, where, n, *[None] * 5]
    following = finite(firing.other_lift(place)[index, latent].item())
    rate, nrn = firing.rate(place)[index, latent].item(), found.classes.nrn[latent].item()
    return [name, where, n, f"{latent}", lifts[index, latent].item(), following, rate, nrn]


def _label_table(found: LatentClassesResult, labelled: LabelledDocuments) -> Table:
    left_out = sorted(set(labelled.labels) - {each.behaviour for each in found.behaviours})
    note = f"{len(labelled.documents)} documents."
    if left_out:
        note += f" Too rare to be in both halves: {', '.join(left_out)}."
    if labelled.sections_left_out:
        note += f" {labelled.sections_left_out} annotated sections are not in their text word for word."
    return behaviour_table(found.behaviours, note, beside=claims(found.pairs))


def finite(value: float) -> float | None:
    """The value, or nothing for an infinite one or NaN."""
    return value if isfinite(value) else None
