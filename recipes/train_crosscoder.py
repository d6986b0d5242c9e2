"""Train a crosscoder on a base model and the model distilled from it: which of their features are shared?

Without arguments: the embedded pair, three crosscoders that differ in their seeds, in about three minutes on two
cores. On models of 1.5B parameters and more, where --seeds is 1 by default:

    python recipes/train_crosscoder.py --pair qwen-1.5b --out runs/qwen-1.5b
    python recipes/train_crosscoder.py --pair qwen-1.5b --seeds 3 --out runs/three-seeds
    python recipes/train_crosscoder.py --base ./my-base --distilled ./my-distilled --data 'texts/*.jsonl.gz'
    accelerate launch recipes/train_crosscoder.py --pair qwen-1.5b                # a process on each GPU
    accelerate launch --multi_gpu --num_processes 2 recipes/train_crosscoder.py   # two, on the CPU where there is none

Expect most latents to be shared (NRN near 0.5), and few in either tail; of another seed's latents, about one in seven
to be the same. With one seed, every interval says that it is given this crosscoder. Differs from Baek & Tegmark 2025 in
its default sparsity rule, BatchTopK, which makes fewer latents look exclusive that are not; `--sparsity l1` is theirs.
"""

from dataclasses import replace

from toolkit.command_line.recipe import run_recipe
from toolkit.settings.crosscoder_run import RunConfig, parse_command_line


def main(config: RunConfig) -> None:
    """Text and two models in; a trained, evaluated, reloadable crosscoder and a report out."""
    # These take seconds to import.
    from toolkit.artifacts import provenance
    from toolkit.experiments.crosscoder.measure import FinishedRun, evaluate_crosscoders
    from toolkit.experiments.crosscoder.page import describe_pair, page, run_header
    from toolkit.experiments.run_report import write_report
    from toolkit.reports.console import RunConsole
    from toolkit.training.folder import RunFolder
    from toolkit.training.memory import require_memory
    from toolkit.training.ranks import on_own_device, open_ranks, share_out
    from toolkit.training.remote_use import remote_record
    from toolkit.training.run_precision import with_precision
    from toolkit.training.streams import open_text, open_training
    from toolkit.training.training_run import TrainingRun

    with open_ranks() as ranks:
        training = with_precision(config.training, config.where, config.output)
        config = replace(config, feed=share_out(config.feed, config.output, ranks), training=training)
        require_memory(config, [config.training], ranks)
        console = RunConsole(quiet=not ranks.is_first)
        folder = RunFolder.open(config.output, config.settings())
        with console.stage("loading models"):
            pair = config.models.open_to_site(on_own_device(config.where, ranks), config.layers)
        corpus = open_text(config.text, config.seed)
        ranks.wait()  # until all have looked into the folder
        if ranks.is_first:
            with console.stage("hashing models"):
                models, files = pair.fingerprints(), pair.files()
            origin = provenance(seed=config.seed, data=corpus.origin, models=models, inputs=files)
            folder.begin(config.settings(), origin | remote_record(pair), resume=config.output.resume)
        console.header(f"Crosscoder on {describe_pair(config.models)}", run_header(config, pair))
        with console.following("starting"):
            run = TrainingRun(config, pair, open_training(config, pair, corpus, ranks), folder, ranks=ranks)
        with run:
            run.follow(console)
    if not ranks.is_first:
        return

    crosscoders = dict(run.crosscoders())
    folder.save_crosscoders(crosscoders.items(), config.output.export)
    if config.output.export:
        console.note(f"export: {folder.path / config.output.export}")
    with folder.evaluating():
        with console.stage("loading models"):
            pair = config.models.open_whole(config.where, pair)
        with console.stage("evaluation"):
            evaluation = evaluate_crosscoders(config.text, config.mask, pair, corpus, crosscoders, seed=config.seed)
        seconds = run.seconds_by_stage() | console.seconds
        measured = evaluation.metrics(pair) | run.metrics() | remote_record(pair)
        folder.write_json("metrics.json", measured | {"seconds_by_stage": seconds})
        findings = page(config, pair, FinishedRun.of(run, evaluation, folder.records(), seconds))
        written = write_report(folder, findings)

    console.headline(findings.headline)
    for table in findings.tables:
        console.table(table)
    console.note(f"report: {written}")


if __name__ == "__main__":
    run_recipe(main, parse_command_line, again="resume")
