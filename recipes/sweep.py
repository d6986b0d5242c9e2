"""Train several crosscoders on one stream of activations: what does a larger dictionary, or a larger k, gain?

    python recipes/sweep.py --k 8 18 36 --n-latents 512 768
    python recipes/sweep.py --sparsity l1 --sparsity-coefficient 0.5 2 --decoder-init-norm 0.08 --out runs/l1
    python recipes/sweep.py --pair qwen-1.5b --n-latents 16384 32768 --cache runs/qwen-1.5b-cache --out runs/qwen-sweep

The models run once: each batch of the shuffle buffer is a step of every crosscoder, and each ends in the weights that
train_crosscoder.py would give it alone. All other settings are those of that recipe. The first line trains six on the
embedded pair, in five minutes on one core. Each crosscoder gets a run folder under --out, which other recipes take as
--run. Expect variance explained to rise with k and with the number of latents, and the spliced KL to fall. If it was
stopped, add --resume.
"""

from dataclasses import replace

from toolkit.artifacts import provenance
from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.crosscoder.page import describe_pair
from toolkit.experiments.sweep.measure import (
    SweepConfig,
    evaluate_saved,
    mean_fve,
    open_folders,
    parse_sweep,
    save_crosscoders,
    sweep_header,
)
from toolkit.experiments.sweep.page import page
from toolkit.harvest.activations import stream_names
from toolkit.harvest.documents import open_corpus
from toolkit.reports.console import RunConsole
from toolkit.reports.files import publish
from toolkit.training.memory import require_memory
from toolkit.training.ranks import on_own_device, open_ranks, share_out
from toolkit.training.remote_use import forecast, remote_record, traffic
from toolkit.training.streams import open_training
from toolkit.training.training_run import TrainingRun


def main(config: SweepConfig) -> None:
    """Text and two models in; a trained, evaluated crosscoder for each combination of values, and a page out."""
    with open_ranks() as ranks:
        config = share_out(config, ranks)
        require_memory(config, config.plans.values(), ranks)
        console = RunConsole(quiet=not ranks.is_first)
        with console.stage("loading models"):
            pair = on_own_device(config, ranks).open_to_site(config.layers)
        corpus = open_corpus(config.data, text_field=config.text_field, mix=config.mix, seed=config.seed)
        with console.stage("hashing models"):
            models, files = pair.fingerprints(), pair.files()
        origin = provenance(seed=config.seed, data=corpus.origin, models=models, inputs=files) | remote_record(pair)
        folder, folders = open_folders(config, origin, ranks)
        console.header(f"{len(folders)} crosscoders on {describe_pair(config)}", sweep_header(config, pair))
        sources = open_training(config, pair, corpus, ranks)
        with console.following("starting"):
            run = TrainingRun(config, pair, sources, folder, plans=config.plans, ranks=ranks)
        with run:
            total, start = run.trainer.training.tokens, run.trainer.tokens_seen
            if short := run.data_ended():  # a text smaller than the buffer
                console.warn(short)
            if config.remote:
                console.note(forecast(pair, total - start, run.reading_seconds["reading activations"], ranks.size))
            label = f"training {len(folders)} crosscoders"
            with console.progress(label, total, streams=stream_names(pair), start_tokens=start) as tick:
                for steps in run.steps():
                    tick(steps[0].tokens, fve=mean_fve(steps), received=traffic(pair).received)
    if not ranks.is_first:
        return
    if short := run.data_ended():
        console.warn(short)
    save_crosscoders(config, run, folders)
    with console.stage("loading models"), folder.evaluating():
        pair = config.open_whole(pair)
    found = {}
    for number, (name, own) in enumerate(folders.items(), start=1):
        with console.stage(f"{number} of {len(folders)}: evaluating {name}"):
            found[name] = evaluate_saved(config.alone(name), pair, corpus, run, own)
    metrics = {name: each for name, each in found.items() if not isinstance(each, Exception)}
    if metrics:
        publish(config.out, console, replace(page(config, pair, metrics), provenance=origin))
    for failure in found.values():
        if isinstance(failure, Exception):
            raise failure


if __name__ == "__main__":
    run_recipe(main, parse_sweep, again="resume")
