"""What `latent_classes` found, as one page: headline, tables, figures and JSON."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.latent_scaling import NU_ERROR, NU_RECONSTRUCTION
from toolkit.experiments.crosscoder.figures import cosine_against_nrn, nrn_histogram
from toolkit.experiments.crosscoder.page import mean_nrn_headlines
from toolkit.experiments.found_behaviours import behaviour_results
from toolkit.experiments.latent_classes import LatentClassesConfig
from toolkit.experiments.latent_classes.claims import NULL_PAIR, page_claims
from toolkit.experiments.latent_classes.measure import LatentClassesResult, exclusive_tags
from toolkit.experiments.latent_classes.seed_tables import seed_results
from toolkit.experiments.latent_classes.seeds import RULE
from toolkit.experiments.latent_classes.tables import (
    category_table,
    finite,
    latent_class_tables,
    where_tagged,
    wilson_share,
)
from toolkit.experiments.run import Run
from toolkit.formatting import estimate, number
from toolkit.latents.classification import tags_of
from toolkit.reports.figures import nu_histogram
from toolkit.reports.findings import Chart, Findings, Headline
from toolkit.reports.verdicts import verdict_results
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.seeds import mean_of_seeds


def page(settings: LatentClassesConfig, opened: Run, found: LatentClassesResult) -> Findings:
    """All that the page shows."""
    return Findings(
        name="latent_classes",
        title="Whose the latents are",
        question="Which latents are one model's only, which are shared, and which only look exclusive?",
        facts=_facts(settings, opened, found),
        headline=_headline(found),
        tables=latent_class_tables(found),
        charts=_charts(found),
        claims=page_claims(found),
        results=_results(found),
    )


def _facts(settings: LatentClassesConfig, opened: Run, found: LatentClassesResult) -> dict[str, str]:
    scale = _mean_scales(opened.crosscoder.config)
    first, last = found.classes.models
    position_0 = "kept" if opened.reading.mask.keep_position_0 else "left out"
    ratio = f"s_{first} / s_{last} = {scale[first] / scale[last]:.3f}; NRN is in raw units" if scale else "not recorded"
    return {
        **opened.facts(),
        "tokens": f"{found.firing.tokens:,} held-out tokens; position 0 is {position_0}",
        "scales": ratio,
        "seed": str(settings.seed),
        "crosscoders": f"of seeds {', '.join(map(str, found.pairs.seeds))}; single latents are those of the first",
        "null pair": _null_pair(opened, found),
    }


def _null_pair(opened: Run, found: LatentClassesResult) -> str:
    if opened.null is None:
        return "none named"
    return f"{' → '.join(opened.null.models.origins)}, crosscoders of seeds {', '.join(map(str, found.pairs.null))}"


def _mean_scales(config: CrosscoderConfig) -> dict[str, float]:
    """By model the mean of its streams' scales, where they are recorded."""
    if not config.scale:
        return {}
    streams = torch.tensor(config.scale, dtype=torch.float64).view(len(config.models), -1)
    return dict(zip(config.models, streams.mean(dim=1).tolist(), strict=True))


def _headline(found: LatentClassesResult) -> list[Headline]:
    classes, survives, tags = found.classes, found.scaling.survives, found.classes.nrn_tags()
    alive = int(classes.alive.sum())
    cosine, null = classes.cosine[classes.alive].nanmedian().item(), classes.cosine_null.nanquantile(0.975).item()
    rows = [
        *mean_nrn_headlines(classes),
        _seeds_headline(found),
        Headline(
            name="median cosine", value=cosine, n=alive, unit="alive latents",
            note=f"between a latent's two decoder rows; 97.5 % of random pairs are below {number(null)}",
        ),
    ]  # fmt: skip
    for name, among in (
        ("NRN-exclusive survive", where_tagged(tags, *exclusive_tags(classes))),
        ("control: shared survive", where_tagged(tags, "shared")),
    ):
        if share := wilson_share(survives, among):
            note = (
                f"{RULE} (Minder et al. 2025)"
                if name == "NRN-exclusive survive"
                else "shared latents that pass the same test"
            )
            rows.append(Headline(name=name, value=share, n=int(among.sum()), unit="latents", note=note))
    return rows


def _seeds_headline(found: LatentClassesResult) -> Headline:
    """How many latents are the last model's only, over seeds, and how many the null pair has."""
    _, last_only = exclusive_tags(found.classes)
    own, null = found.pairs.numbers(lambda each: each.count(last_only))
    note = f"{_in_words(mean_of_seeds(null))} {NULL_PAIR}" if null else "no null run: nothing says how many are chance"
    return Headline(
        name=f"{last_only} latents",
        value=mean_of_seeds(own),
        n=len(own),
        unit="crosscoders",
        note=f"by NRN in units of training; {note}",
    )


def _in_words(mean: Estimate) -> str:
    value, ends = estimate(mean.value, mean.low, mean.high)
    return f"{value} ({ends})" if ends else value


def _charts(found: LatentClassesResult) -> list[Chart]:
    classes, alive, tags = found.classes, found.classes.alive, found.classes.nrn_tags()
    first, last = classes.models
    rate = found.firing.fired[alive] / found.firing.tokens
    charts = [
        Chart(
            name="nrn",
            figure=nrn_histogram(classes.nrn[alive].numpy(), classes.mean_nrn, classes.neutral),
            caption=f"Each alive latent's share of decoder norm in the {last} model: 0 {first} only, 1 {last} only. The"
            " dotted line is the neutral point, where both rows are equal in units of training.",
        ),
        Chart(
            name="cosine",
            figure=cosine_against_nrn(
                classes.cosine[alive].numpy(), classes.nrn[alive].numpy(), rate.numpy(), classes.cosine_null.numpy()
            ),
            caption="How alike a latent's two decoder rows are, against rows of different latents.",
        ),
    ]
    masks: dict[str, Tensor] = {tag: where_tagged(tags, tag) for tag in exclusive_tags(classes) if tag in tags}
    survives = {tag: found.scaling.survives[mask].numpy() for tag, mask in masks.items()}
    for name, nu, threshold in (
        ("error", found.scaling.nu_error, NU_ERROR),
        ("reconstruction", found.scaling.nu_reconstruction, NU_RECONSTRUCTION),
    ):
        if masks:
            values = {tag: nu[mask].numpy() for tag, mask in masks.items()}
            charts.append(
                Chart(
                    name=f"nu_{name}",
                    figure=nu_histogram(values, survives, threshold),
                    caption=f"ν of the {name}: how much of each latent that looks exclusive the other model has too.",
                )
            )
    return charts


def _results(found: LatentClassesResult) -> Mapping[str, Any]:
    classes, scaling, firing = found.classes, found.scaling, found.firing
    categories, labels = category_table(found), behaviour_results(found.behaviours)
    by_latent: dict[str, Float[Tensor, " latent"]] = {
        "nrn": classes.nrn,
        "rdn": classes.rdn,
        "norm_difference": classes.norm_difference,
        "cosine": classes.cosine,
        "frequency": firing.fired / firing.tokens,
        "nu_error": scaling.nu_error,
        "nu_reconstruction": scaling.nu_reconstruction,
    }
    return {
        "tokens": firing.tokens,
        "mean_nrn": classes.mean_nrn,
        "mean_nrn_activation_weighted": classes.mean_nrn_weighted,
        "mean_nrn_training_units": classes.mean_nrn_training_units,
        "neutral": classes.neutral,
        "survivors": {
            convention: {
                tag: {"n": int(here.sum()), "survive": int((scaling.survives & here).sum())}
                for tag in tags_of(*classes.models)
                for here in (where_tagged(tags, tag),)
            }
            for convention, tags in (
                ("nrn", classes.nrn_tags()),
                ("nrn_training_units", classes.training_units_tags()),
                ("norm_difference", classes.norm_difference_tags()),
            )
        },
        **seed_results(found.pairs),
        "verdicts": verdict_results(page_claims(found)),
        "latents": {name: [finite(value) for value in values.tolist()] for name, values in by_latent.items()}
        | {"tag_nrn": classes.nrn_tags(), "tag_norm_difference": classes.norm_difference_tags()},
        "categories": [dict(zip(categories.columns, row, strict=True)) for row in categories.rows],
        "examples": {str(latent): texts for latent, texts in found.examples.items()},
        "behaviours": labels["behaviours"],
        "labels": {name: labels[name] for name in ("floor", "ceiling")},
    }
