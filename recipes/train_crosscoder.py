"""Train a crosscoder on a base model and the model distilled from it: which of their features are shared?

Without arguments: the embedded pair, in under three minutes on two cores. On models of 1.5B parameters and more:

    python recipes/train_crosscoder.py --pair qwen-1.5b --out runs/qwen-1.5b
    python recipes/train_crosscoder.py --base ./my-base --distilled ./my-distilled --data 'texts/*.jsonl.gz'
    accelerate launch recipes/train_crosscoder.py --pair qwen-1.5b                # a process on each GPU
    accelerate launch --multi_gpu --num_processes 2 recipes/train_crosscoder.py   # two, on the CPU where there is none

Expect most latents to be shared (NRN near 0.5), and few in either tail. Differs from Baek & Tegmark 2025 in its default
sparsity rule, BatchTopK, which makes fewer latents look exclusive that are not; `--sparsity l1` is theirs.
"""

from toolkit.artifacts import provenance
from toolkit.command_line.recipe import run_recipe
from toolkit.dictionaries.collectives import Ranks
from toolkit.experiments.crosscoder.measure import FinishedRun, evaluate_crosscoder
from toolkit.experiments.crosscoder.page import describe_pair, page, run_header, write_report
from toolkit.harvest.activations import stream_names
from toolkit.harvest.documents import Corpus, open_corpus
from toolkit.models.pair import ModelPair
from toolkit.reports.console import RunConsole
from toolkit.settings.crosscoder_run import RunConfig, parse_command_line
from toolkit.training.folder import RunFolder
from toolkit.training.memory import require_memory
from toolkit.training.ranks import on_own_device, open_ranks, share_out
from toolkit.training.remote_use import forecast, remote_record, traffic
from toolkit.training.streams import open_training
from toolkit.training.training_run import TrainingRun


def main(config: RunConfig) -> None:
    """Text and two models in; a trained, evaluated, reloadable crosscoder and a report out."""
    with open_ranks() as ranks:
        config = share_out(config, ranks)
        require_memory(config, [config.training], ranks)
        console = RunConsole(quiet=not ranks.is_first)
        folder = RunFolder.open(
            config.out,
            config.settings(),
            resume=config.resume,
            overwrite=config.overwrite,
            keep=config.keep_checkpoints,
        )
        with console.stage("loading models"):
            pair = on_own_device(config, ranks).open_to_site(config.layers)
        corpus = open_corpus(config.data, text_field=config.text_field, mix=config.mix, seed=config.seed)
        ranks.wait()  # until all have looked into the folder
        if ranks.is_first:
            with console.stage("hashing models"):
                models, files = pair.fingerprints(), pair.files()
            origin = provenance(seed=config.seed, data=corpus.origin, models=models, inputs=files)
            folder.begin(config.settings(), origin | remote_record(pair), resume=config.resume)
        console.header(f"Crosscoder on {describe_pair(config)}", run_header(config, pair))
        run = train(config, pair, corpus, folder, console, ranks)
    if ranks.is_first:
        report(config, pair, corpus, folder, console, run)


def train(
    config: RunConfig, pair: ModelPair, corpus: Corpus, folder: RunFolder, console: RunConsole, ranks: Ranks
) -> TrainingRun:
    """Train to the end, with progress; every rank reads its shards of the text."""
    with console.following("starting"):
        run = TrainingRun(config, pair, open_training(config, pair, corpus, ranks), folder, ranks=ranks)
    with run:
        start = run.trainer.tokens_seen
        reading = run.reading_seconds["reading activations"]
        if config.remote and (reading or not config.cache):  # with a cache, nothing may be to come
            console.note(forecast(pair, config.training.tokens - start, reading, ranks.size))
        if short := run.data_ended():  # a text smaller than the buffer
            console.warn(short)
        with console.progress(
            "training", run.trainer.training.tokens, streams=stream_names(pair), start_tokens=start
        ) as tick:
            for [step] in run.steps():
                received = traffic(pair).received
                tick(step.tokens, fve=step.fve, l0=step.l0, dead_share=step.dead_share, received=received)
    if short := run.data_ended():
        console.warn(short)
    return run


def report(
    config: RunConfig, pair: ModelPair, corpus: Corpus, folder: RunFolder, console: RunConsole, run: TrainingRun
) -> None:
    """Save the crosscoder, evaluate it, and say what came out."""
    crosscoder = run.crosscoder()
    folder.save_crosscoder(crosscoder, config.export)
    if config.export:
        console.note(f"export: {folder.path / config.export}")

    with folder.evaluating():
        with console.stage("loading models"):
            pair = config.open_whole(pair)
        with console.stage("evaluation"):
            evaluation = evaluate_crosscoder(config, pair, corpus, crosscoder)
        seconds = run.seconds_by_stage() | console.seconds
        measured = evaluation.metrics(pair) | run.metrics() | remote_record(pair)
        folder.write_json("metrics.json", measured | {"seconds_by_stage": seconds})
        found = FinishedRun(
            evaluation=evaluation,
            records=folder.records(),
            masks=run.masks,
            documents=run.documents,
            seconds=seconds,
        )
        findings = page(config, pair, found)
        written = write_report(folder, findings)

    console.headline(findings.headline)
    for table in findings.tables:
        console.table(table)
    console.note(f"report: {written}")


if __name__ == "__main__":
    run_recipe(main, parse_command_line, again="resume")
