"""The page of harmonic probes: are they as good as logistic ones, are their centres alike, and do these steer?"""

from typing import Any

from toolkit.experiments.harmonic_probes import HarmonicProbesConfig
from toolkit.experiments.harmonic_probes.claims import best_random, beyond_random, claims, slope
from toolkit.experiments.harmonic_probes.figures import accuracy_by_layer, accuracy_by_tokens
from toolkit.experiments.harmonic_probes.headlines import lattice_headline, probe_headlines, steering_headlines
from toolkit.experiments.harmonic_probes.lattice_page import lattice_figure, lattice_results, lattice_table
from toolkit.experiments.harmonic_probes.measure import Measured
from toolkit.experiments.harmonic_probes.results import probe_results
from toolkit.experiments.harmonic_probes.steering import SteeredToCentre
from toolkit.experiments.harmonic_probes.tables import (
    centres_table,
    data_table,
    layers_table,
    measured,
    probes_table,
    shapes_table,
    steering_table,
    words_table,
)
from toolkit.experiments.harmonic_probes.ways import RANDOM
from toolkit.models.model_set import ModelSet
from toolkit.reports.figures import estimates_by_name
from toolkit.reports.findings import Chart, Findings, Table, left_out_tables
from toolkit.reports.verdicts import verdict_results, verdict_table

CODE = """import toolkit

probe = toolkit.fit_harmonic(x, y, documents, classes=("sure", "doubtful"))  # activations, labels, their documents
probe.accuracy(x_test, y_test), probe.centres
edit = toolkit.move_toward(layer, probe.centres[1], share=0.1)  # for generate(..., edit=edit)
"""


def page(settings: HarmonicProbesConfig, opened: ModelSet, found: Measured) -> Findings:
    """What both probes tell by label, layer and model, their centres, steering, and the lattice."""
    probes, steered, lattices = found.probes, found.steered, found.lattices
    claimed = claims(probes, steered, lattices)
    return Findings(
        name="harmonic_probes",
        title=f"Harmonic probes: {' → '.join(opened.origins)}",
        question=(
            "A harmonic probe says which class's point an activation is nearest. Does it tell as much as a logistic"
            " probe, are its points alike in both models, and do answers change as the stream moves toward one?"
        ),
        facts=_facts(settings, opened, found),
        headline=[
            *probe_headlines(probes),
            *(steering_headlines(steered) if steered else ()),
            *([lattice_headline(lattices)] if lattices else ()),
        ],
        tables=[
            verdict_table(claimed),
            probes_table(probes),
            *([steering_table(steered)] if steered else []),
            data_table(probes),
            centres_table(probes),
            *shapes_table(probes),
            *([lattice_table(lattices)] if lattices else []),
            *(layers_table(name, label, probes) for name, label in probes.labels.items()),
            *words_table(probes),
            *_left_out(found),
        ],
        charts=_charts(found),
        code=CODE,
        claims=claimed,
        results=probe_results(probes)
        | ({"steering": _steering_results(steered)} if steered else {})
        | ({"lattice": lattice_results(lattices)} if lattices else {})
        | {"verdicts": verdict_results(claimed)},
    )


def _facts(settings: HarmonicProbesConfig, opened: ModelSet, found: Measured) -> dict[str, str]:
    text = str(settings.spans or "held-out answers of the organism")
    exponent = "√width or width" if settings.exponent is None else f"{settings.exponent:g}"
    facts = {
        "models": " → ".join(opened.origins),
        "site": f"input of layer {found.probes.layer} of {opened.n_layers}, width {opened.d_model}",
        "text": f"{text}; {settings.draws} draws of fitting documents, others test",
        "harmonic probe": f"exponent {exponent} of the distance",
        "both probes": "settings that do best on held-out fitting documents of the first draw",
    }
    if found.steered:
        asked = settings.steering
        drawn = "greedy" if asked.temperature == 0 else f"temperature {asked.temperature:g}, the same seeds in all arms"
        facts["answers"] = f"{asked.model} model, {drawn}, at most {asked.new_tokens} new tokens"
    return facts | {"seed": str(settings.seed)}


def _charts(found: Measured) -> list[Chart]:
    probes, steered = found.probes, found.steered
    charts = [
        Chart(
            name="accuracy_by_layer",
            figure=accuracy_by_layer(probes),
            caption="Balanced accuracy by layer; solid: logistic, dashed: harmonic. Bands: 95 % over documents and"
            " draws.",
        ),
        Chart(
            name="accuracy_by_tokens",
            figure=accuracy_by_tokens(probes),
            caption=f"The same by the number of tokens that fit a probe, at the input of layer {probes.layer}.",
        ),
    ]
    if steered:
        slopes = {best_random(steered) if way == RANDOM else way: slope(steered, way) for way in steered.ways}
        charts.append(
            Chart(
                name="steering",
                figure=estimates_by_name(slopes, f"Toward {steered.toward!r}", "rise of ln(length) a unit of strength"),
                caption="How steeply answers lengthen along each way; all changes are equally long on average.",
            )
        )
    if found.lattices:
        charts.append(
            Chart(
                name="lattice",
                figure=lattice_figure(found.lattices),
                caption="Embeddings of the first seed's networks along two principal components; lines join neighbours"
                " of the 5 × 5 lattice.",
            )
        )
    return charts


def _left_out(found: Measured) -> list[Table]:
    classes = {
        f"{name}, {class_name}": why
        for name, label in found.probes.labels.items()
        for class_name, why in label.left_out.items()
    }
    return left_out_tables("what", dict(found.probes.left_out) | classes | dict(found.left_out))


def _steering_results(steered: SteeredToCentre) -> dict[str, Any]:
    return {
        "label": steered.label,
        "away": steered.away,
        "toward": steered.toward,
        "layer": steered.layer,
        "mean_norm": steered.norm,
        "distances": dict(zip((steered.away, steered.toward), steered.distances, strict=True)),
        "strengths": list(steered.strengths),
        "n": len(steered.questions),
        "unsteered": measured([steered.unsteered], 0),
        "ways": {
            way: {
                "slope": slope(steered, way),
                "slope_minus_random": beyond_random(steered, way),
                "cosine": along.cosine,
                "by_strength": {
                    f"{strength:+g}": measured(along.answers, arm) for arm, strength in enumerate(steered.strengths)
                },
            }
            for way, along in steered.ways.items()
        },
        "n_random_directions": len(steered.random),
        "development_questions": steered.development_questions,
    }
