"""The report of a trained adapter: how near it comes to the distilled model, and how it came about."""

import torch

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.experiments.adapter_training.figures import training_curves
from toolkit.experiments.adapter_training.measure import FinishedTraining, MeasuredAdapter
from toolkit.formatting import percent
from toolkit.harvest.tokens import describe_documents
from toolkit.models.presets import in_checkout
from toolkit.reports.console import times_table
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table
from toolkit.settings.adapter_run import AdapterRunConfig

GIVEN_ADAPTER = "given this adapter"
CAPTION = (
    "The lower, the nearer; the coloured lines change over from one model to the other at a random layer. The penalty"
    " presses on L0 from the first step on. Long runs are thinned to 400 means."
)


def page(config: AdapterRunConfig, adapted: AdaptedModel, found: FinishedTraining) -> Findings:
    """The report's content."""
    return Findings(
        name="report",
        title=f"Adapter: {config.models.pair or config.models.distilled}",
        question="With the base model's MLPs and sparse transcoders, how near does the distilled model come to itself?",
        facts=run_header(config, adapted),
        headline=_headlines(found.measured),
        tables=[_layers_table(found.measured), times_table(found.seconds)],
        charts=[
            Chart(
                name="training_curves",
                figure=training_curves(found.records, config.training.n_latents),
                caption=CAPTION,
            )
        ],
        code=(
            "from toolkit.experiments.adapter_run import AdapterRun\n"
            f'run = AdapterRun.open("{config.output.out.as_posix()}")\n'
            'print(run.models.adapter.generate("What is 24+5?", new_tokens=30))'
        ),
        results=found.measured.metrics(),
        provenance={"settings": config.settings(), "documents": describe_documents(found.documents)},
    )


def run_header(config: AdapterRunConfig, adapted: AdaptedModel) -> dict[str, str]:
    """What is trained on what; the run's settings are read as a whole."""
    training = config.training
    base, distilled = (in_checkout(source.name) for source in adapted.sources)
    return {
        "models": f"{distilled}, with the MLPs of {base}",
        "device": f"{adapted.distilled.device}, {torch.get_num_threads()} threads",
        "data": f"{config.text.data}, one document a row of at most {config.text.row_length:,} tokens",
        "adapter": f"{training.n_latents:,} latents in each of {adapted.n_layers} layers",
        "loss": f"{training.kl_weight:g} KL + {training.nmse_weight:g} NMSE + {training.bridging_weight:g} bridging"
        f" + {training.sparsity_coefficient:g} penalty",
        "training": f"{training.sequences:,} documents in {training.steps:,} steps, {training.optimiser},"
        f" learning rate {training.lr:g}, warm-up {training.lr_warmup_share:.0%}, then a cosine to 0",
        "run folder": str(config.output.out),
    }


def _headlines(measured: MeasuredAdapter) -> list[Headline]:
    predictions = int(measured.adapter.predictions.sum())
    tokens, latents = int(measured.fired.tokens.sum()), measured.fired.by_latent.numel()
    return [
        Headline(name="KL", value=measured.kl, n=predictions, unit="predictions", note=f"nats; {GIVEN_ADAPTER}"),
        Headline(
            name="KL of the hybrid",
            value=measured.kl_hybrid,
            n=predictions,
            unit="predictions",
            note="the same model without the adapter: all there is to recover",
        ),
        Headline(
            name="KL recovered",
            value=measured.recovered,
            n=predictions,
            unit="predictions",
            note="share of the hybrid's",
        ),
        Headline(name="L0", value=measured.l0, n=tokens, unit="tokens", note="latents firing, a token and layer"),
        Headline(
            name="dead share",
            value=sum(measured.dead) / latents,
            n=latents,
            unit="latents",
            note=f"fired on none of {tokens:,} held-out tokens",
        ),
    ]


def _layers_table(measured: MeasuredAdapter) -> Table:
    by_layer, n_latents = measured.by_layer(), measured.fired.by_latent.shape[1]
    rows: list[list[Cell]] = [
        [str(layer), l0, percent(silent / n_latents), *ratios]
        for layer, (l0, silent, *ratios) in enumerate(
            zip(
                by_layer["l0"],
                measured.dead,
                by_layer["nmse"],
                by_layer["nmse_hybrid"],
                by_layer["nmse_without_sink"],
                by_layer["nmse_without_sink_hybrid"],
                strict=True,
            )
        )
    ]
    return Table(
        title="Layers",
        columns=("layer", "L0", "dead", "NMSE", "hybrid", "without the sink", "hybrid, without it"),
        rows=rows,
        note="NMSE: squared error of a layer's output, relative to its square over a document; without the sink, the"
        " mean of each token's own ratio but the first one's. Intervals are over"
        f" {len(measured.fired.tokens):,} held-out documents, {GIVEN_ADAPTER}.",
    )
