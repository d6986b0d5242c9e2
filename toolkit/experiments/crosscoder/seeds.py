"""How a report tells of crosscoders of several seeds: their figures, and which of their latents persist."""

from collections.abc import Mapping

from toolkit.dictionaries.stability import PERSISTS
from toolkit.experiments.crosscoder.measure import Evaluation
from toolkit.experiments.crosscoder.study import Persistence
from toolkit.models.model_set import ModelSet
from toolkit.models.streams import stream_names
from toolkit.reports.findings import Cell, Headline, Table


def persistence_headline(found: Persistence) -> Headline:
    """How many latents other seeds have too."""
    return Headline(
        name="latents that persist",
        value=found.persist,
        n=found.n,
        unit="latents",
        note=f"another seed has them too: best match at least {PERSISTS:g}; median best match"
        f" {found.best.value:.2f}, by chance {found.chance.value:.2f}",
    )


def persistence_table(found: Mapping[str, Persistence], n_seeds: int) -> Table:
    """Which groups of latents other seeds find too."""
    return Table(
        title="Which latents other seeds have too",
        columns=("latents", "best match", "by chance", "persist", "n"),
        rows=[(name, each.best, each.chance.value, each.persist, each.n) for name, each in found.items()],
        note=f"Each of the {n_seeds} crosscoders is compared with each other one, latent by latent: n counts the"
        " latents of all. Best match: the largest cosine of a latent's decoder rows, joined over models, with those of"
        " any latent of the other crosscoder; the median over latents. By chance: the same with random directions,"
        f" spread as the other's rows are. A latent persists where its best match is at least {PERSISTS:g}. Intervals"
        " are t intervals over the seeds, which share the stream.",
    )


def seeds_table(evaluation: Evaluation, models: ModelSet) -> Table:
    """The figures of each crosscoder by itself."""
    streams = stream_names(models.names, models.layers)
    rows: list[list[Cell]] = []
    for seed, measured in evaluation.by_seed.items():
        figures = measured.metrics(models)
        rows.append([
            str(seed), *(figures[f"fve_{name}"] for name in streams), figures["l0"], figures["dead_share"],
            figures["mean_nrn"], *(figures[f"kl_spliced_{name}"] for name in streams),
        ])  # fmt: skip
    kinds = (*(f"FVE {name}" for name in streams), "L0", "dead", "mean NRN", *(f"KL {name}" for name in streams))
    return Table(
        title="Each seed's crosscoder",
        columns=("seed", *kinds),
        rows=rows,
        note="Trained on the same stream, measured on the same tokens: they differ in their initial weights alone. The"
        f" means above have t intervals over these values. NRN is neutral at {figures['neutral']:.3f}. The figures draw"
        " the first one.",
    )
