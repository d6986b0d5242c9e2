"""A run's evaluation as the plain data that console and page show."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries import schedules
from toolkit.dictionaries.rules.rule import rule_of
from toolkit.experiments.crosscoder.measure import Evaluation, stream_names
from toolkit.harvest.tokens import describe_documents
from toolkit.latents.behaviours import BehaviourLatent
from toolkit.latents.classification import LatentClasses
from toolkit.models.pair import ModelPair
from toolkit.models.places.here import weights_dtype
from toolkit.models.places.processes import n_processes
from toolkit.reports.findings import Headline, Table
from toolkit.reports.run_report import RunReport
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.statistics import Estimate
from toolkit.training.folder import RunFolder

CONTROL = (
    "The latent is chosen on half of the held-out answers and tested on the other half. Control: the same choice for"
    " another answer's labels."
)


def headlines(evaluation: Evaluation, pair: ModelPair) -> list[Headline]:
    """The numbers a reader takes away, each with its count, interval or control."""
    dictionary = evaluation.dictionary
    tokens = dictionary.tokens
    explained = [
        Headline(
            name=f"FVE {name}", value=value, n=tokens, unit="held-out tokens", note="fraction of variance explained"
        )
        for name, value in zip(stream_names(pair), dictionary.fve, strict=True)
    ]
    splices = [
        Headline(
            name=f"KL spliced, {splice.model}" + (f" layer {splice.layer}" if len(pair.layers) > 1 else ""),
            value=splice.kl,
            n=splice.n,
            unit="predictions",
            note=f"nats; mean-ablated {splice.kl_mean:.3g}; loss recovered {splice.loss_recovered:.3f}",
        )
        for splice in evaluation.splices
    ]
    return [
        *explained,
        Headline(name="L0", value=dictionary.l0, n=tokens, unit="held-out tokens", note="latents firing a token"),
        Headline(
            name="dead share",
            value=dictionary.dead_share,
            n=len(evaluation.alive),
            unit="latents",
            note=f"fired on none of {tokens:,} held-out tokens",
        ),
        *splices,
        mean_nrn_headline(evaluation.decoders),
    ]


def mean_nrn_headline(classes: LatentClasses) -> Headline:
    """Whose the latents are, in one number."""
    return Headline(
        name="mean NRN",
        value=classes.mean_nrn,
        n=int(classes.alive.sum()),
        unit="alive latents",
        note=f"0 base only, 1 distilled only; activation-weighted {classes.mean_nrn_weighted:.3f}",
    )


def planted_table(evaluation: Evaluation) -> Table | None:
    """The planted behaviours' table, where the text has any."""
    found = evaluation.behaviours
    return None if found is None else behaviour_table(found, evaluation.decoders.nrn, CONTROL)


def behaviour_table(behaviours: Sequence[BehaviourLatent], nrn: Float[Tensor, " latent"], note: str) -> Table:
    """The best latent of each label, and how well it finds it."""
    rows = [
        (
            found.behaviour,
            f"{found.latent}",
            Estimate(found.auroc, found.low, found.high),
            found.control_auroc,
            nrn[found.latent].item(),
            found.firing_rate,
            found.n_tokens,
        )
        for found in behaviours
    ]
    return Table(
        title="The latent that best finds each label",
        columns=("label", "latent", "AUROC", "control", "NRN", "P(fire)", "n tokens"),
        rows=rows,
        note=f"{note} AUROC: how well the latent tells the label's n tokens from all others; .5 is chance, 1 perfect.",
    )


def run_report(
    config: RunConfig,
    pair: ModelPair,
    evaluation: Evaluation,
    folder: RunFolder,
    *,
    masks: Mapping[str, int],
    documents: Mapping[str, int],
    seconds: Mapping[str, float],
) -> RunReport:
    """All that the page shows."""
    origin = folder.read_json("provenance.json")
    decoders = evaluation.decoders
    return RunReport(
        title=f"Crosscoder: {describe_pair(config)}",
        pair=f"{' → '.join(pair.origins)}, input of layer {_layers(pair)} of {pair.n_layers}",
        data=config.data,
        command=origin["command"],
        load_pair=load_expression(config),
        versions=origin["versions"],
        settings=_flat_settings(config),
        streams=stream_names(pair),
        headline=headlines(evaluation, pair),
        firing_rate=(evaluation.dictionary.firing_counts / evaluation.dictionary.tokens).numpy(),
        alive=evaluation.alive.numpy(),
        nrn=decoders.nrn.numpy(),
        cosine=decoders.cosine.numpy(),
        cosine_null=decoders.cosine_null.numpy(),
        nrn_mean=decoders.mean_nrn,
        records=folder.records(),
        masks={name.replace("_", " "): count for name, count in masks.items()},
        documents=describe_documents(documents),
        seconds=dict(seconds),
        behaviours=planted_table(evaluation),
    )


def describe_pair(config: RunConfig) -> str:
    """The pair in a word or two."""
    return f"{config.base} → {config.distilled}" if config.base else str(config.pair)


def load_expression(config: RunConfig) -> str:
    """The Python expression that loads the pair."""
    if config.base:
        return f"ModelPair.from_pretrained(base={config.base!r}, distilled={config.distilled!r})"
    return f"ModelPair.from_pretrained({config.pair!r})"


def run_header(config: RunConfig, pair: ModelPair) -> dict[str, str]:
    """What runs on what."""
    training = config.training
    pressure = rule_of(training.sparsity).pressure
    places = ", ".join(sorted({str(pair.base.device), str(pair.distilled.device)}))
    dtype = str(weights_dtype(config.where())).removeprefix("torch.")
    weights = "as saved" if dtype == "auto" else f"in {dtype}"
    if config.tensor_parallel:
        weights += f", each layer split over {n_processes()} processes"
    stored = config.buffer_tokens * len(stream_names(pair)) * pair.d_model * (2 if config.buffer_dtype == "bf16" else 4)
    return {
        "models": f"{' → '.join(pair.origins)}",
        "site": f"input of layer {_layers(pair)} of {pair.n_layers}, width {pair.d_model}",
        "device": f"{places}, {torch.get_num_threads()} threads; models {'on NDIF' if config.remote else weights}",
        "data": f"{config.data}, one document a row of at most {config.row_length} tokens",
        "crosscoder": f"{training.n_latents} latents, {training.sparsity}, {pressure.goal(training)}",
        "training": f"{training.tokens:,} tokens in {training.steps:,} steps of {training.batch_tokens:,},"
        f" {training.precision}",
        "schedules": schedules.in_words(training, pressure),
        "buffer": f"{config.buffer_tokens:,} activations, {stored / 1e6:.0f} MB",
        "run folder": str(config.out),
    }


def _layers(pair: ModelPair) -> str:
    return ", ".join(map(str, pair.layers))


def _flat_settings(config: RunConfig) -> dict[str, object]:
    settings = config.settings()
    return {name: value for name, value in settings.items() if name != "training"} | settings["training"]
