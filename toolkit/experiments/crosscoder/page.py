"""The report of a trained crosscoder: whose its latents are, how well it rebuilds, and how it came about."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from toolkit.dictionaries import schedules
from toolkit.dictionaries.rules.rule import rule_of
from toolkit.experiments.crosscoder.figures import (
    best_matches,
    cosine_against_nrn,
    firing_histogram,
    nrn_histogram,
    training_curves,
)
from toolkit.experiments.crosscoder.measure import Evaluation, FinishedRun, Measured
from toolkit.experiments.crosscoder.seeds import persistence_headline, persistence_table, seeds_table
from toolkit.experiments.crosscoder.study import ALL
from toolkit.experiments.found_behaviours import behaviour_table, information_table
from toolkit.formatting import number
from toolkit.harvest.tokens import describe_documents
from toolkit.latents.behaviours import behaviour_claims
from toolkit.latents.classification import LatentClasses
from toolkit.models.model_set import ModelSet
from toolkit.models.places.here import weights_dtype
from toolkit.models.places.processes import n_processes
from toolkit.models.streams import stream_names
from toolkit.reports.console import times_table
from toolkit.reports.findings import Chart, Findings, Headline, Table, shares_table
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.settings.models import ModelChoice
from toolkit.statistics.estimates import GIVEN_ONE, Estimate
from toolkit.statistics.seeds import mean_of_seeds

CAPTIONS = {
    "nrn_histogram": "Each alive latent has one decoder row in each model; NRN is the distilled row's share "
    "of their summed norms. At 0 only the base model has the latent, at 1 only the distilled model. The dotted line is "
    "the neutral point: a latent lies there if training, which scales both models to the same mean norm, gave it equal "
    "rows. Numbers over the bars count latents; the other line is the mean, the band its 95\N{NO-BREAK SPACE}% "
    "interval.",
    "cosine_against_nrn": "One dot a latent. High and in the middle: both models write the same direction. "
    "At the sides, or inside the grey band that holds 95\N{NO-BREAK SPACE}% of randomly paired latents: the direction "
    "is one model's own.",
    "training_curves": "Every curve should be flat at the end; the share of variance explained should rise "
    "alike in all models (its scale leaves out the climb of the first steps). Long runs are "
    "thinned to 400 means.",
    "firing_histogram": "Five bars a factor of ten. A healthy dictionary has one hump, few latents that fire "
    "almost always (at the right), and few that never do.",
    "best_matches": "For each latent that fires the largest cosine of its decoder rows with those of any latent of "
    "another seed's crosscoder; the line is the same with random directions. At the right are latents that "
    "every training finds; those under the line are one training's own.",
}


def headlines(evaluation: Evaluation, models: ModelSet) -> list[Headline]:
    """The numbers a reader takes away, each with its count, interval or control: means over the crosscoders' seeds."""
    each = [_headlines_of(measured, models) for measured in evaluation.by_seed.values()]
    persist = [persistence_headline(found) for name, found in evaluation.persistence.items() if name == ALL]
    return [*(_over_seeds(same) for same in zip(*each, strict=True)), *persist]


def _over_seeds(headlines: Sequence[Headline]) -> Headline:
    """The mean of one number over seeds, with the interval that its spread between them gives; one alone as it is."""
    own = headlines[0]
    note = own.note.replace(f"; {GIVEN_ONE}", "")
    if len(headlines) == 1:
        return replace(own, note=f"{note}; {GIVEN_ONE}")
    values = [each.value.value if isinstance(each.value, Estimate) else each.value for each in headlines]
    return replace(own, value=mean_of_seeds(values), note=f"{note}; by seed {', '.join(map(number, values))}")


def _headlines_of(measured: Measured, models: ModelSet) -> list[Headline]:
    dictionary = measured.dictionary
    tokens = dictionary.tokens
    explained = [
        Headline(
            name=f"FVE {name}", value=value, n=tokens, unit="held-out tokens", note="fraction of variance explained"
        )
        for name, value in dictionary.fve.items()
    ]
    splices = [
        Headline(
            name=f"KL spliced, {splice.model}" + (f" layer {splice.layer}" if len(models.layers) > 1 else ""),
            value=splice.kl,
            n=splice.n,
            unit="predictions",
            note=f"nats; mean-ablated {splice.kl_mean.value:.3g}; loss recovered {splice.loss_recovered}",
        )
        for splice in measured.splices
    ]
    return [
        *explained,
        Headline(name="L0", value=dictionary.l0, n=tokens, unit="held-out tokens", note="latents firing a token"),
        Headline(
            name="dead share",
            value=dictionary.dead_share,
            n=len(measured.alive),
            unit="latents",
            note=f"fired on none of {tokens:,} held-out tokens",
        ),
        *splices,
        *mean_nrn_headlines(measured.decoders),
    ]


def mean_nrn_headlines(classes: LatentClasses) -> list[Headline]:
    """Whose the latents are, in raw units and in those of training, each beside its neutral point."""
    first, last = classes.models
    n = int(classes.alive.sum())
    if not classes.scales_recorded:
        where = "neutral 0.5 if both models were scaled alike: no scales are recorded"
    else:
        where = f"neutral {classes.neutral:.3f}, where rows are equal in training units"
    ends = f"0 {first} only, 1 {last} only; activation-weighted {classes.mean_nrn_weighted:.3f}"
    raw = Headline(
        name="mean NRN", value=classes.mean_nrn, n=n, unit="alive latents", note=f"{where}; {ends}; {GIVEN_ONE}"
    )
    if not classes.scales_recorded:
        return [raw]
    note = f"neutral 0.5: both models' streams have the same mean norm; {GIVEN_ONE}"
    in_training = classes.mean_nrn_training_units
    return [raw, replace(raw, name="mean NRN, training units", value=in_training, note=note)]


def planted_tables(evaluation: Evaluation) -> list[Table]:
    """What finds the planted behaviours, and where the information on them is; none where the text has none."""
    if evaluation.behaviours is None or evaluation.information is None:
        return []
    return [behaviour_table(evaluation.behaviours), information_table(evaluation.information)]


def page(config: RunConfig, models: ModelSet, found: FinishedRun) -> Findings:
    """The report's content."""
    evaluation = found.evaluation
    return Findings(
        name="report",
        title=f"Crosscoder: {describe_pair(config.models)}",
        question="Which latents do the models share, and which are one model's own?",
        facts=run_header(config, models),
        headline=headlines(evaluation, models),
        tables=[
            *planted_tables(evaluation),
            *seeds_tables(evaluation, models),
            times_table(found.seconds),
            _tokens_table(found),
        ],
        charts=_charts(found, stream_names(models.names, models.layers)),
        code=(
            "from toolkit import Run\n"
            f'run = Run.open("{config.output.out.as_posix()}")\n'
            'latents = run.crosscoder.encode(run.models.read("Find 25+7."))'
        ),
        claims=behaviour_claims(evaluation.behaviours or ()),
        results=evaluation.metrics(models),
        provenance={"settings": _flat_settings(config)},
    )


def seeds_tables(evaluation: Evaluation, models: ModelSet) -> list[Table]:
    """Each seed's figures, and which latents persist; nothing where there is one crosscoder alone."""
    n_seeds = len(evaluation.by_seed)
    if n_seeds == 1:
        return []
    return [seeds_table(evaluation, models), persistence_table(evaluation.persistence, n_seeds)]


def _tokens_table(found: FinishedRun) -> Table:
    named = {name.replace("_", " "): count for name, count in found.masks.items()}
    table = shares_table("Tokens kept and dropped", ("", "tokens"), named, number)
    return replace(table, note=f"Documents: {describe_documents(found.documents)}.")


def _charts(found: FinishedRun, streams: Sequence[str]) -> list[Chart]:
    own = found.evaluation.own
    dictionary, decoders, alive = own.dictionary, own.decoders, own.alive.numpy()
    firing_rate = (dictionary.firing_counts / dictionary.tokens).numpy()
    nrn, cosine = decoders.nrn.numpy(), decoders.cosine.numpy()
    drawn = {
        "nrn_histogram": nrn_histogram(nrn[alive], decoders.mean_nrn, decoders.neutral),
        "cosine_against_nrn": cosine_against_nrn(
            cosine[alive], nrn[alive], firing_rate[alive], decoders.cosine_null.numpy()
        ),
        "training_curves": training_curves(found.records, streams),
        "firing_histogram": firing_histogram(firing_rate),
    }
    if len(found.evaluation.by_seed) > 1:
        best, chance = (found.evaluation.matches(figure).numpy() for figure in ("best", "chance"))
        drawn["best_matches"] = best_matches(best, chance)
    return [Chart(name=name, figure=figure, caption=CAPTIONS[name]) for name, figure in drawn.items()]


def describe_pair(models: ModelChoice) -> str:
    """The pair in a word or two."""
    return f"{models.base} → {models.distilled}" if models.base else str(models.pair)


def run_header(config: RunConfig, models: ModelSet) -> dict[str, str]:
    """What runs on what; the run's settings are read as a whole."""
    training = config.training
    pressure = rule_of(training.sparsity).pressure
    places = ", ".join(sorted({str(each.device) for each in models.models.values()}))
    dtype = str(weights_dtype(config.where)).removeprefix("torch.")
    weights = "as saved" if dtype == "auto" else f"in {dtype}"
    if config.where.tensor_parallel:
        weights += f", each layer split over {n_processes()} processes"
    stored = (
        config.feed.buffer_tokens
        * len(stream_names(models.names, models.layers))
        * models.d_model
        * (2 if config.feed.buffer_dtype == "bf16" else 4)
    )
    run = "on NDIF" if config.where.remote else weights
    return {
        "models": f"{' → '.join(models.origins)}",
        "site": f"input of layer {_layers(models)} of {models.n_layers}, width {models.d_model}",
        "device": f"{places}, {torch.get_num_threads()} threads; models {run}",
        "data": f"{config.text.data}, one document a row of at most {config.text.row_length} tokens",
        "crosscoder": f"{training.n_latents} latents, {training.sparsity}, {pressure.goal(training)}",
        "training": f"{training.tokens:,} tokens in {training.steps:,} steps of {training.batch_tokens:,},"
        f" {training.precision}",
        "schedules": schedules.in_words(training, pressure),
        "buffer": f"{config.feed.buffer_tokens:,} activations, {stored / 1e6:.0f} MB",
        "run folder": str(config.output.out),
    }


def _layers(models: ModelSet) -> str:
    return ", ".join(map(str, models.layers))


def _flat_settings(config: RunConfig) -> dict[str, object]:
    settings = config.settings()
    return {name: value for name, value in settings.items() if name != "training"} | settings["training"]
