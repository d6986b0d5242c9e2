"""Train several crosscoders on one stream of activations: what does a larger dictionary, or a larger k, gain?

    python recipes/sweep.py --k 8 18 36 --n-latents 512 768
    python recipes/sweep.py --sparsity l1 --sparsity-coefficient 0.5 2 --decoder-init-norm 0.08 --out runs/l1
    python recipes/sweep.py --pair qwen-1.5b --n-latents 16384 32768 --cache runs/qwen-1.5b-cache --out runs/qwen-sweep

The models run once: each batch of the shuffle buffer is a step of every crosscoder, and each ends in the weights that
train_crosscoder.py would give it alone. All other settings are those of that recipe. The first line trains six on the
embedded pair, in five minutes on one core. Each crosscoder gets a run folder under --out, which other recipes take as
--run. With --seeds 3 each is trained from three seeds, and the page has the means. Expect variance explained to rise
with k and with the number of latents, and the spliced KL to fall. If it was stopped, add --resume.
"""

from dataclasses import replace

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.sweep import SweepConfig, parse_sweep


def main(config: SweepConfig) -> None:
    """Text and two models in; a trained, evaluated crosscoder for each combination of values, and a page out."""
    # These take seconds to import.
    from toolkit.artifacts import provenance
    from toolkit.experiments.crosscoder.page import describe_pair
    from toolkit.experiments.sweep.measure import evaluate_saved, open_folders, save_crosscoders, sweep_header
    from toolkit.experiments.sweep.page import page
    from toolkit.reports.console import RunConsole
    from toolkit.reports.files import publish
    from toolkit.training.memory import require_memory
    from toolkit.training.ranks import on_own_device, open_ranks, share_out
    from toolkit.training.remote_use import remote_record
    from toolkit.training.run_precision import with_precision
    from toolkit.training.streams import open_text, open_training
    from toolkit.training.training_run import TrainingRun

    with open_ranks() as ranks:
        training = with_precision(config.training, config.where, config.output)
        config = replace(config, feed=share_out(config.feed, config.output, ranks), training=training)
        require_memory(config, config.plans.values(), ranks)
        console = RunConsole(quiet=not ranks.is_first)
        with console.stage("loading models"):
            pair = config.models.open_to_site(on_own_device(config.where, ranks), config.layers)
        corpus = open_text(config.text, config.seed)
        with console.stage("hashing models"):
            models, files = pair.fingerprints(), pair.files()
        origin = provenance(seed=config.seed, data=corpus.origin, models=models, inputs=files) | remote_record(pair)
        folder, folders = open_folders(config, origin, ranks)
        console.header(f"{len(folders)} crosscoders on {describe_pair(config.models)}", sweep_header(config, pair))
        sources = open_training(config, pair, corpus, ranks)
        with console.following("starting"):
            run = TrainingRun(config, pair, sources, folder, plans=config.plans, ranks=ranks)
        with run:
            run.follow(console)
    if not ranks.is_first:
        return

    save_crosscoders(config, run, folders)
    with console.stage("loading models"), folder.evaluating():
        pair = config.models.open_whole(config.where, pair)
    found = {}
    for number, (name, own) in enumerate(folders.items(), start=1):
        with console.stage(f"{number} of {len(folders)}: evaluating {name}"):
            found[name] = evaluate_saved(config.alone(name), pair, corpus, run, own)
    metrics = {name: each for name, each in found.items() if not isinstance(each, Exception)}
    if metrics:
        publish(config.output.out, console, replace(page(config, pair, metrics), provenance=origin))
    for failure in found.values():
        if isinstance(failure, Exception):
            raise failure


if __name__ == "__main__":
    run_recipe(main, parse_sweep, again="resume")
