"""The crosscoders of one sweep side by side: reconstruction, sparsity, dead latents, and whose their latents are."""

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.experiments.crosscoder.page import describe_pair
from toolkit.experiments.sweep import SweepConfig
from toolkit.formatting import number, percent
from toolkit.models.model_set import ModelSet
from toolkit.models.streams import stream_names
from toolkit.reports.figures import SweepPoint, fve_by_l0
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table
from toolkit.statistics.estimates import Estimate
from toolkit.statistics.seeds import mean_of_seeds

Metrics = Mapping[str, Mapping[str, Any]]


def page(settings: SweepConfig, opened: ModelSet, found: Metrics) -> Findings:
    """One row a crosscoder, and the variance explained against the latents that fire; `found`: metrics by name."""
    streams = stream_names(opened.names, opened.layers)
    training = settings.training
    return Findings(
        name="sweep",
        title=f"Sweep: {len(found)} crosscoders on {describe_pair(settings.models)}",
        question="What does a larger dictionary, or a larger k, gain?",
        facts={
            "models": " → ".join(opened.origins),
            "site": f"input of layer {', '.join(map(str, opened.layers))} of {opened.n_layers}, width {opened.d_model}",
            "text": f"{settings.text.data}; the tokens below are held out",
            "training": f"{training.sparsity}, {training.tokens:,} tokens of one stream for all, seed {settings.seed}",
        },
        headline=[_best(f"fve_{name}", f"FVE {name}", found) for name in streams],
        tables=[_table(settings, opened, found)],
        charts=[
            Chart(
                name="fve_by_l0",
                figure=fve_by_l0(_points(settings, streams, found), streams),
                caption="Variance explained against latents firing a token, a line for each number of latents.",
            )
        ],
        results={name: dict(measured) for name, measured in found.items()},
    )


def _best(key: str, name: str, metrics: Metrics) -> Headline:
    best = max(metrics, key=lambda each: metrics[each][key])
    return Headline(
        name=f"highest {name}",
        value=metrics[best][key],
        n=metrics[best]["held_out_tokens"],
        unit="held-out tokens",
        note=f"{best}; L0 {number(metrics[best]['l0'])}",
    )


def _table(settings: SweepConfig, opened: ModelSet, metrics: Metrics) -> Table:
    streams, (first, *_, last) = stream_names(opened.names, opened.layers), opened.names
    rows: list[list[Cell]] = [[name, *_row(each, streams)] for name, each in metrics.items()]
    any_one = next(iter(metrics.values()))
    of = "seeds, as all intervals here" if settings.seeds > 1 else "alive latents"
    neutral = f", neutral {any_one['neutral']:.3f}" if "neutral" in any_one else ""
    control = ", ".join(f"{number(any_one[f'kl_mean_ablated_{stream}'])} ({stream})" for stream in streams)
    return Table(
        title="Each crosscoder on held-out tokens",
        columns=(
            "crosscoder",
            *(f"FVE {stream}" for stream in streams),
            "L0",
            "dead",
            "mean NRN",
            *(f"KL {stream}" for stream in streams),
        ),
        rows=rows,
        note=f"n = {any_one['held_out_tokens']:,} tokens. KL: nats a token when the reconstruction is put in; the mean"
        f" activation in its place, the control, costs {control}. NRN: 0 {first} only, 1 {last} only{neutral}; its 95 %"
        f" interval is over {of}. Each is a run folder in {settings.output.out}, for --run of other recipes.",
    )


def _row(metrics: Mapping[str, Any], streams: Sequence[str]) -> list[Cell]:
    """A crosscoder's figures; of several seeds their means, with intervals over the seeds."""
    fve, kl = ([f"{figure}_{stream}" for stream in streams] for figure in ("fve", "kl_spliced"))
    seeds = [*metrics.get("seeds", {}).values()]
    if len(seeds) > 1:
        figures = (*fve, "l0", "dead_share", "mean_nrn", *kl)
        return [mean_of_seeds([each[figure] for each in seeds]) for figure in figures]
    return [
        *(metrics[each] for each in fve),
        metrics["l0"],
        percent(metrics["dead_share"]),
        Estimate(metrics["mean_nrn"], *metrics["mean_nrn_interval"]),
        *(metrics[each] for each in kl),
    ]


def _points(settings: SweepConfig, streams: tuple[str, ...], metrics: Metrics) -> list[SweepPoint]:
    return [
        SweepPoint(
            n_latents=settings.plans[name].n_latents,
            l0=each["l0"],
            fve=tuple(each[f"fve_{stream}"] for stream in streams),
        )
        for name, each in metrics.items()
    ]
