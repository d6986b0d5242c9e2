"""The three measures by layer, with their yardsticks, as tables, figures and JSON."""

from math import isnan

from toolkit.experiments.control import CONTROL, control_files
from toolkit.experiments.layer_divergence import LayerDivergenceConfig
from toolkit.experiments.layer_divergence.measure import OTHER_TOKEN, LayerDivergence, less
from toolkit.experiments.layer_divergence.study import LEVEL, MEASURES, Curves
from toolkit.experiments.opening import models_of
from toolkit.experiments.run import Run
from toolkit.formatting import percent
from toolkit.models.model_set import ModelSet
from toolkit.reports.figures import layer_curves
from toolkit.reports.findings import Chart, Findings, Headline, Table
from toolkit.statistics.estimates import too_few

ENDS = {"mean": "value", "low": "low", "high": "high"}


def page(settings: LayerDivergenceConfig, opened: ModelSet | Run, found: LayerDivergence) -> Findings:
    """Where the examined model is farthest, how far it is at every layer, and how far the yardsticks are."""
    models, (reference, examined, *_) = models_of(opened), found.models
    curves = found.curves[examined]
    names = ("largest distance", "largest relative distance", "smallest cosine")
    return Findings(
        name="layer_divergence",
        title=f"Layer divergence: {' → '.join(models.origins)}",
        question=f"At which layers does the {examined} model's residual stream differ from the {reference} model's?",
        facts={
            "models": " → ".join(models.origins),
            "site": f"input of each of {models.n_layers} layers, width {models.d_model}",
            "text": f"{found.text}; {found.tokens:,} tokens of {found.documents:,} documents compared;"
            f" position 0 is {'kept' if found.keep_position_0 else 'left out'}",
        },
        headline=[
            Headline(
                name=f"layer of {name}",
                value=int(layer),
                n=found.tokens,
                unit="tokens",
                note=_named_by(float(share), found),
            )
            for name, layer, share in zip(names, curves.farthest, curves.farthest_share, strict=True)
        ],
        tables=[_table(index, measure, found) for index, measure in enumerate(MEASURES)],
        charts=_charts(found),
        results={"tokens": found.tokens, "documents": found.documents, "level": LEVEL}
        | {name: _results(each) for name, each in found.curves.items()},
        provenance={
            "data": found.origin,
            "sha256": control_files(settings.models, settings.where, models),
        },
    )


def _named_by(share: float, found: LayerDivergence) -> str:
    if isnan(share):
        return too_few(found.documents, found.tokens)
    return f"named by {percent(share)} of 1,000 resamples of the documents"


def _charts(found: LayerDivergence) -> list[Chart]:
    reference, examined, *yardsticks = found.models
    captions = {examined: f"{examined.capitalize()} against {reference} at the same token"} | {
        less(examined, name): f"How much farther from {reference} the {examined} model is than the {name}, at the same"
        " token"
        for name in yardsticks
    }
    return [_chart(name, found.curves[name], caption, is_whole=name == examined) for name, caption in captions.items()]


def _chart(name: str, curves: Curves, caption: str, *, is_whole: bool) -> Chart:
    distance, relative, cosine = curves.estimates.values()
    farther = [each.reflected(float(is_whole)) for each in cosine]  # the smaller the cosine, the farther
    measures = dict(zip((*MEASURES[:2], "1 − cosine"), (distance, relative, farther), strict=True))
    return Chart(
        name=name.replace(" − ", "_less_"),
        figure=layer_curves(range(len(curves.mean)), measures),
        caption=f"{caption}; the band is the 99 % interval over documents.",
    )


def _table(index: int, measure: str, found: LayerDivergence) -> Table:
    reference, examined, *yardsticks = found.models
    with_interval = [examined, *(less(examined, name) for name in yardsticks)]
    without = [*yardsticks, OTHER_TOKEN]
    estimates = [found.curves[name].estimates[measure] for name in with_interval]
    plain = [found.curves[name].mean[:, index].tolist() for name in without]
    rows = [[str(layer), *cells] for layer, cells in enumerate(zip(*estimates, *plain, strict=True))]
    return Table(
        title=f"{measure} from {reference}, 99 % intervals over documents",
        columns=("layer", *with_interval, *without),
        rows=rows,
        note=f"n = {found.tokens:,} tokens of {found.documents:,} documents. {OTHER_TOKEN}: {examined} at a random"
        " other token of the batch."
        + (f" {CONTROL}: a model trained on without distillation." if CONTROL in yardsticks else ""),
    )


def _results(curves: Curves) -> dict[str, dict[str, object]]:
    return {
        measure: {
            **{key: [getattr(each, name) for each in estimates] for key, name in ENDS.items()},
            "argmax": int(curves.mean[:, index].argmax()),
            "farthest": int(curves.farthest[index]),
            "farthest_share": float(curves.farthest_share[index]),
        }
        for index, (measure, estimates) in enumerate(curves.estimates.items())
    }
