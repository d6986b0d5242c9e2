"""Several crosscoders trained on one stream of activations, each of them as if it were trained alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from statistics import fmean
from traceback import clear_frames
from typing import Any

import tyro

from toolkit.artifacts import read_section
from toolkit.dictionaries import schedules
from toolkit.dictionaries.collectives import Ranks
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.rules import RULES
from toolkit.dictionaries.rules.rule import rule_of
from toolkit.dictionaries.training import StepMetrics
from toolkit.experiments.crosscoder.measure import FinishedRun, evaluate_crosscoder
from toolkit.experiments.crosscoder.page import page, run_header, write_report
from toolkit.harvest.documents import Corpus
from toolkit.models.pair import ModelPair
from toolkit.outputs import OutputFolder, findings_claim
from toolkit.ranges import Count, PositiveOrNone, check_ranges, flag
from toolkit.settings.crosscoder_run import RunConfig, parse_command_line
from toolkit.settings.parsing import parse
from toolkit.settings.run_files import RUN
from toolkit.training.folder import RunFolder
from toolkit.training.training_run import TrainingRun


@dataclass(frozen=True, kw_only=True)
class SweptValues:
    """What the crosscoders of a sweep differ in: each combination of values is one of them."""

    n_latents: tuple[Count, ...] = ()
    """Latents in the dictionary."""
    k: tuple[Count, ...] = ()
    """Latents kept per token, on average for batchtopk."""
    sparsity_coefficient: tuple[PositiveOrNone, ...] = ()
    """Weight λ of the l1 or jumprelu penalty."""

    def plans(self, training: TrainingConfig) -> dict[str, TrainingConfig]:
        """One plan a combination, by name; all else is as in `training`.

        Raises ValueError for no value, a value given twice, values that the sparsity rule does not use, and ones that
        are impossible together.
        """
        check_ranges(self)
        swept = {name: values for name, values in asdict(self).items() if values}
        if not swept:
            raise ValueError("a sweep has values to combine: give --n-latents, --k or --sparsity-coefficient several")
        if (unheeded := ({*RULES.values()} - {RULES[training.sparsity]}).pop()) in swept:
            raise ValueError(f"{flag(unheeded)}: --sparsity {training.sparsity} does not use it; leave it out")
        for name, values in swept.items():
            if len(set(values)) < len(values):
                raise ValueError(f"{flag(name)} {' '.join(map(str, values))}: give each value once")
        return {_name(values): replace(training, **values) for values in _combinations(swept)}


@dataclass(frozen=True, kw_only=True)
class SweepConfig(RunConfig):
    """Train several crosscoders on one stream of activations.

    --n-latents, --k (topk, batchtopk) and --sparsity-coefficient (l1, jumprelu) take several values here; each
    combination is one crosscoder.
    """

    out: Path = Path("runs/sweep")
    """Folder of the sweep: its page, and a run folder for each crosscoder."""
    swept: tyro.conf.Suppress[SweptValues] = SweptValues()
    """What the crosscoders differ in."""

    @property
    def plans(self) -> dict[str, TrainingConfig]:
        """The crosscoders to train, by name."""
        return self.swept.plans(self.training)

    def replaced(self) -> list[OutputFolder]:
        """The crosscoders that only the sweep to be replaced had.

        Raises ValueError where its config.json names what is no folder of a sweep.
        """
        settings = self.out / "config.json"
        if not (self.overwrite and settings.exists()):
            return []
        swept = read_section(settings, "run").get("swept", {})
        if not _is_swept(swept):
            raise ValueError(f"{settings} names crosscoders that no sweep has ({swept}): give another --out")
        names = {_name(values) for values in _combinations(swept)} - self.plans.keys()
        return [_folder(self.out / name) for name in sorted(names) if (self.out / name).exists()]

    def outputs(self) -> list[OutputFolder]:
        """The folders that the sweep writes."""
        own = OutputFolder(self.out, (RUN, findings_claim("sweep")))
        return [own, *(_folder(self.out / name) for name in self.plans), *self.replaced()]

    def alone(self, name: str) -> RunConfig:
        """The settings with which one of them is trained alone."""
        common = {each.name: getattr(self, each.name) for each in fields(RunConfig)}
        return RunConfig(**common | {"out": self.out / name, "training": self.plans[name]})


def parse_sweep(arguments: Sequence[str]) -> SweepConfig:
    """The settings that a command line asks for; raises ValueError as `SweptValues.plans` does."""
    swept, others = parse(SweptValues, arguments, return_unknown_args=True, add_help=False)
    config = replace(parse_command_line(others, SweepConfig), swept=swept)
    assert config.plans, "a sweep trains something"
    return config


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
    choice = {"resume": config.resume, "overwrite": config.overwrite}
    configs: list[RunConfig] = [config, *map(config.alone, config.plans)]
    folders = [RunFolder.open(each.out, each.settings(), keep=each.keep_checkpoints, **choice) for each in configs]
    ranks.wait()  # until all have looked into them
    if ranks.is_first:
        for only_before in config.replaced():
            only_before.remove()
        for folder, each in zip(folders, configs, strict=True):
            folder.begin(each.settings(), origin, resume=config.resume)
    return folders[0], dict(zip(config.plans, folders[1:], strict=True))


def save_crosscoders(config: SweepConfig, run: TrainingRun, folders: Mapping[str, RunFolder]) -> None:
    """Save each crosscoder that is not evaluated yet, and its steps as if it had been alone."""
    records = run.folder.records()
    for name, folder in folders.items():
        if folder.is_evaluated:
            continue
        own = (each for each in records if _is_of(each, name))
        folder.write_records({key: value for key, value in each.items() if key != "plan"} for each in own)
        folder.save_crosscoder(run.crosscoder(name), config.export)


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
            crosscoder = Crosscoder.from_pretrained(folder.path).to(pair.device)
            evaluation = evaluate_crosscoder(config, pair, corpus, crosscoder)
            seconds = run.seconds_by_stage()
            found = FinishedRun(
                evaluation=evaluation,
                records=folder.records(),
                masks=run.masks,
                documents=run.documents,
                seconds=seconds,
            )
            write_report(folder, page(config, pair, found))
            metrics = evaluation.metrics(pair) | run.metrics() | {"seconds_by_stage": seconds}
            folder.write_json("metrics.json", metrics)
    except Exception as error:
        clear_frames(error.__traceback__)  # they hold what the next evaluation may have no room for
        return error
    return metrics


def _is_of(record: Mapping[str, Any], name: str) -> bool:
    return bool(record.get("plan", name) == name)


def _is_swept(content: Any) -> bool:
    """Whether this is `SweptValues` as JSON, so that folders' names come of it."""
    names = {each.name for each in fields(SweptValues)}
    return isinstance(content, dict) and all(
        name in names and isinstance(values, list) and all(isinstance(each, int | float) for each in values)
        for name, values in content.items()
    )


def _folder(path: Path) -> OutputFolder:
    """The run folder of one crosscoder; raises ValueError for a link, which may lead anywhere."""
    if path.is_symlink():
        raise ValueError(f"{path} is a link: move it away, or give --out another folder")
    return OutputFolder(path, (RUN,), inside=True)


def mean_fve(steps: Sequence[StepMetrics]) -> tuple[float, ...]:
    """Variance explained in one step, per stream, as the mean over crosscoders."""
    return tuple(fmean(values) for values in zip(*(step.fve for step in steps), strict=True))


def _combinations(swept: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    given = {name: values for name, values in swept.items() if values}
    return [dict(zip(given, values, strict=True)) for values in product(*given.values())] if given else []


def _name(values: Mapping[str, int | float]) -> str:
    return "_".join(f"{name.replace('_', '-')}-{value}" for name, value in values.items())
