"""The figures of the page of an adapter's evaluation."""

from toolkit.experiments.adapter_evaluation.answers import MODES
from toolkit.experiments.adapter_evaluation.closeness import FIRST, LAST, SINGLE, WITHOUT, nmse
from toolkit.experiments.adapter_evaluation.measure import Measured
from toolkit.reports.adapter_figures import Panel, line_panels
from toolkit.reports.figures import estimates_by_name
from toolkit.reports.findings import Chart


def charts(found: Measured) -> list[Chart]:
    """Accuracy by model, KL by layers replaced, errors and firing by layer, and the sweep where there is one."""
    return [
        *([_accuracy(found)] if found.answers.known else []),
        _partial(found),
        _layers(found),
        *([_sweep(found)] if found.swept and found.answers.known else []),
    ]


def _accuracy(found: Measured) -> Chart:
    n = len(found.questions)
    accuracy = {mode: found.answers.means(mode)["correct"] for mode in MODES}
    return Chart(
        name="accuracy",
        figure=estimates_by_name(accuracy, f"Accuracy (n = {n})", "share of questions"),
        caption="Questions that are answered rightly by each model, with 95 % intervals over questions.",
    )


def _partial(found: Measured) -> Chart:
    lines = {
        name: [found.yardsticks.per_token(each) for each in steps] for name, steps in found.yardsticks.partial.items()
    }
    panels = [
        Panel(
            title="Several layers replaced, from either end",
            xlabel="layers replaced (k)",
            x=range(len(lines[FIRST])),
            lines={name: lines[name] for name in (FIRST, LAST)},
        ),
        Panel(
            title="One layer replaced",
            xlabel="layer",
            x=range(len(lines[SINGLE])),
            lines={name: lines[name] for name in (SINGLE, WITHOUT)},
            controls=[WITHOUT],
        ),
    ]
    return Chart(
        name="partial_replacement",
        figure=line_panels(panels),
        caption="KL(distilled ‖ model), nats a token, where some layers have the base model's MLP and the transcoder;"
        " bands are 95 % intervals over documents.",
    )


def _layers(found: Measured) -> Chart:
    near, layers = found.closeness, range(len(found.closeness.dead))
    errors = {"adapter": nmse(near.fidelity, sink=False), "hybrid": nmse(found.yardsticks.hybrid, sink=False)}
    panels = [
        Panel(
            title="NMSE of the layer's output, without the sink",
            xlabel="layer",
            x=layers,
            lines=errors,
            controls=["hybrid"],
        ),
        Panel(title="L0: latents that fire on a token", xlabel="layer", x=layers, lines={"L0": near.l0_by_layer}),
    ]
    return Chart(
        name="layers",
        figure=line_panels(panels),
        caption="Errors of streams, and how many latents fire; bands are 95 % intervals over documents.",
    )


def _sweep(found: Measured) -> Chart:
    panel = Panel(
        title="Share of the accuracy gap that is recovered",
        xlabel="L0: latents that fire, a token and layer",
        x=[each.l0.value for each in found.swept],
        lines={"recovered": [each.recovered for each in found.swept]},
    )
    return Chart(
        name="sweep",
        figure=line_panels([panel]),
        caption="Adapters that were trained with other λ; the band is the 95 % interval over questions.",
    )
