"""The page of an adapter's evaluation: what it recovers of predictions, streams, accuracy and length."""

from typing import Any

from toolkit.answers.means import MEASURES
from toolkit.experiments.adapter_evaluation import AdapterEvaluationConfig
from toolkit.experiments.adapter_evaluation.answers import MODES
from toolkit.experiments.adapter_evaluation.charts import charts
from toolkit.experiments.adapter_evaluation.claims import claims
from toolkit.experiments.adapter_evaluation.closeness import HYBRID, nmse
from toolkit.experiments.adapter_evaluation.measure import Measured
from toolkit.experiments.adapter_evaluation.published import published_table
from toolkit.experiments.adapter_evaluation.tables import (
    PAIRS,
    answers_table,
    layers_table,
    partial_table,
    predictions_table,
    sweep_table,
)
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.control import is_embedded
from toolkit.reports.findings import Findings, Headline, SideBySide
from toolkit.reports.verdicts import verdict_results, verdict_table

OTHER_PROMPT = "; the base model by its own tokenizer, as ids of the others mean something else to it"

ALL_DEAD = (
    "all latents are dead: none fires on this text, and the adapter adds its biases alone; train it with a lower λ"
)


def page(settings: AdapterEvaluationConfig, opened: AdapterRun, found: Measured) -> Findings:
    """The page's content."""
    claimed, asked = claims(found), _asked(settings, found)
    return Findings(
        name="adapter_evaluation",
        title="An adapter beside the distilled model",
        question=(
            "The distilled model's MLPs are replaced by the base model's, with a sparse transcoder beside each. Does it"
            " predict, reason and answer as the distilled model does, and how much of that is due to the transcoders?"
        ),
        facts=opened.facts()
        | {
            "held-out text": f"{int(found.closeness.firings.tokens.sum()):,} tokens of"
            f" {len(found.closeness.fidelity.kl):,} documents",
            "answers": asked,
            "prompt": "the same for all: the question, up to where the model begins to think"
            f"{'' if found.asked_alike else OTHER_PROMPT}",
            "seed": str(settings.seed),
        },
        headline=_headline(found),
        tables=[
            verdict_table(claimed, note="Of this adapter: how one of another seed would differ is not known."),
            answers_table(found.answers, asked),
            predictions_table(found.closeness, found.yardsticks),
            layers_table(found.closeness, found.yardsticks),
            *([sweep_table(found.swept)] if found.swept else []),
            *([] if is_embedded(opened.models) else [published_table()]),
            partial_table(found.yardsticks),
        ],
        charts=charts(found),
        texts=_texts(found),
        claims=claimed,
        results=results(found) | {"verdicts": verdict_results(claimed)},
    )


def _asked(settings: AdapterEvaluationConfig, found: Measured) -> str:
    """How the models were asked."""
    drawn = (
        "greedy"
        if settings.temperature == 0
        else f"temperature {settings.temperature:g}, {settings.samples} of each question, the same seeds for all models"
    )
    n = len(found.questions)
    short = f" ({settings.test} were asked for: give more with --questions)" if n < settings.test else ""
    return f"{n} questions{short}, {drawn}, at most {settings.new_tokens} new tokens"


def _headline(found: Measured) -> list[Headline]:
    answers, near = found.answers, found.closeness
    n, documents = len(found.questions), len(near.fidelity.kl)
    accuracy = {mode: answers.means(mode)["correct"].value for mode in MODES}
    rows = [
        Headline(
            name="accuracy recovered",
            value=answers.recovered("correct"),
            n=n,
            unit="questions",
            note=f"of distilled − hybrid; {', '.join(f'{mode} {value:.2f}' for mode, value in accuracy.items())}",
        )
    ]
    lengths = {mode: answers.means(mode)["length"].value for mode in MODES}
    return [
        *(rows if answers.known else []),
        Headline(
            name="length, adapter / distilled",
            value=answers.length_ratio,
            n=n,
            unit="questions",
            note=f"tokens until </think>: {', '.join(f'{mode} {value:.0f}' for mode, value in lengths.items())}",
        ),
        Headline(
            name="KL recovered",
            value=found.yardsticks.recovered(near.fidelity.kl),
            n=documents,
            unit="documents",
            note=f"of the hybrid's {found.yardsticks.per_token(found.yardsticks.kl[HYBRID]).value:.3g} nats a token;"
            f" {near.kl.value:.3g} are left",
        ),
        Headline(
            name="L0",
            value=near.l0,
            n=documents,
            unit="documents",
            note="latents that fire, a token and layer" if near.firings.by_latent.any() else ALL_DEAD,
        ),
    ]


def results(found: Measured) -> dict[str, Any]:
    """Every number."""
    near, yardsticks, answers = found.closeness, found.yardsticks, found.answers
    of_modes = {name: {mode: answers.means(mode)[measure] for mode in MODES} for measure, name in MEASURES.items()}
    return of_modes | {
        "differences": {
            f"{mode} - {less}": {name: answers.difference(measure, mode, less) for measure, name in MEASURES.items()}
            for mode, less in PAIRS
        },
        "recovered": {name: answers.recovered(measure) for measure, name in MEASURES.items()}
        | {"kl": yardsticks.recovered(near.fidelity.kl)},
        "length_ratio": answers.length_ratio,
        "l0": near.l0,
        "l0_by_layer": near.l0_by_layer,
        "dead": near.dead,
        "n_latents": near.firings.by_latent.shape[1],
        "kl": near.kl,
        "kl_of": {name: yardsticks.per_token(kl) for name, kl in yardsticks.kl.items()},
        "nmse": nmse(near.fidelity, sink=True),
        "nmse_without_sink": nmse(near.fidelity, sink=False),
        "nmse_of_hybrid": nmse(yardsticks.hybrid, sink=True),
        "nmse_of_hybrid_without_sink": nmse(yardsticks.hybrid, sink=False),
        "partial": {name: [yardsticks.per_token(each) for each in steps] for name, steps in yardsticks.partial.items()},
        "sweep": [vars(each) for each in found.swept],
        "n": {
            "questions": len(found.questions),
            "documents": len(near.fidelity.kl),
            "tokens": int(near.firings.tokens.sum()),
            "predictions": int(near.fidelity.predictions.sum()),
        },
    }


def _texts(found: Measured) -> list[SideBySide]:
    """All models' answers to a question that the adapter answers rightly, and to one that it does not; where right
    answers are not known, to the first."""
    answers = found.answers
    right = answers.values("correct", "adapter")
    chosen = {
        int((right == wanted).nonzero()[0]): said
        for wanted, said in ((1, "the adapter is right"), (0, "the adapter is wrong"))
        if (right == wanted).any()
    }
    return [
        SideBySide(
            title=f"{found.questions[question].question} ({said})",
            labels=MODES,
            texts=tuple(texts[question] for texts in answers.answers.texts),
        )
        for question, said in (chosen or {0: "the first question"}).items()
    ]
