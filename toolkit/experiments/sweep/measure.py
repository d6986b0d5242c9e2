"""Several crosscoders trained on one stream of activations, each of them as if it were trained alone."""

from collections.abc import Mapping
from traceback import clear_frames
from typing import Any

from toolkit.dictionaries import schedules
from toolkit.dictionaries.collectives import Ranks
from toolkit.dictionaries.rules.rule import rule_of
from toolkit.experiments.crosscoder.measure import FinishedRun, evaluate_crosscoders
from toolkit.experiments.crosscoder.page import page, run_header
from toolkit.experiments.run_report import write_report
from toolkit.experiments.sweep import SweepConfig
from toolkit.harvest.documents import Corpus
from toolkit.models.pair import ModelPair
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.training.folder import RunFolder
from toolkit.training.training_run import TrainingRun


def sweep_header(config: SweepConfig, pair: ModelPair) -> dict[str, str]:
    """What runs on what, and the schedules of each crosscoder."""
    common = {name: said for name, said in run_header(config, pair).items() if name not in ("crosscoder", "schedules")}
    return common | {
        name: schedules.in_words(plan, rule_of(plan.sparsity).pressure) for name, plan in config.plans.items()
    }


def open_folders(
    config: SweepConfig, origin: Mapping[str, Any], ranks: Ranks
) -> tuple[RunFolder, dict[str, RunFolder]]:
    """The sweep's folder and each crosscoder's run folder, ready for the sweep or for going on with it.

    Where a sweep is replaced, crosscoders that only the old one had go with it.

    Raises ValueError as `RunFolder.open` and `begin` do.
    """
    configs: list[RunConfig] = [config, *map(config.alone, config.plans)]
    folders = [RunFolder.open(each.output, each.settings()) for each in configs]
    ranks.wait()  # until all have looked into them
    if ranks.is_first:
        for only_before in config.replaced():
            only_before.remove()
        for folder, each in zip(folders, configs, strict=True):
            folder.begin(each.settings(), origin, resume=config.output.resume)
    return folders[0], dict(zip(config.plans, folders[1:], strict=True))


def save_crosscoders(config: SweepConfig, run: TrainingRun, folders: Mapping[str, RunFolder]) -> None:
    """Save each crosscoder that is not evaluated yet, and its steps as if it had been alone."""
    records = run.folder.records()
    for name, folder in folders.items():
        if folder.is_evaluated:
            continue
        own = (each for each in records if _is_of(each, name))
        folder.write_records({key: value for key, value in each.items() if key != "plan"} for each in own)
        folder.save_crosscoders(run.crosscoders(name), config.output.export)


def evaluate_saved(
    config: RunConfig, pair: ModelPair, corpus: Corpus, run: TrainingRun, folder: RunFolder
) -> dict[str, Any] | Exception:
    """The metrics of a saved crosscoder, as evaluated before or now; or what keeps it from being evaluated.

    That is returned, not raised: the other crosscoders of the sweep need not share it.
    """
    if folder.is_evaluated:
        return folder.read_json("metrics.json")
    try:
        with folder.evaluating():
            crosscoders = {seed: each.to(pair.device) for seed, each in folder.crosscoders(config.trained_seeds)}
            evaluation = evaluate_crosscoders(config.text, config.mask, pair, corpus, crosscoders, seed=config.seed)
            seconds = run.seconds_by_stage()
            found = FinishedRun.of(run, evaluation, folder.records(), seconds)
            write_report(folder, page(config, pair, found))
            metrics = evaluation.metrics(pair) | run.metrics() | {"seconds_by_stage": seconds}
            folder.write_json("metrics.json", metrics)
    except Exception as error:
        clear_frames(error.__traceback__)  # they hold what the next evaluation may have no room for
        return error
    return metrics


def _is_of(record: Mapping[str, Any], name: str) -> bool:
    return bool(record.get("plan", name) == name)
