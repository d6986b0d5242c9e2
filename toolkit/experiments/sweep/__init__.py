"""Several crosscoders trained on one stream of activations: what they differ in, and where they land."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import tyro

from toolkit.artifacts import read_section
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.rules import RULES
from toolkit.fields import ShortRepr
from toolkit.outputs import OutputFolder, findings_claim
from toolkit.ranges import Count, PositiveOrNone, check_ranges
from toolkit.settings.crosscoder_run import RunConfig, parse_command_line
from toolkit.settings.parsing import parse
from toolkit.settings.run_files import RUN


@dataclass(frozen=True, kw_only=True, repr=False)
class SweptValues(ShortRepr):
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
            raise ValueError(f"{_flag(unheeded)}: --sparsity {training.sparsity} does not use it; leave it out")
        for name, values in swept.items():
            if len(set(values)) < len(values):
                raise ValueError(f"{_flag(name)} {' '.join(map(str, values))}: give each value once")
        return {_name(values): replace(training, **values) for values in _combinations(swept)}


@dataclass(frozen=True, kw_only=True, repr=False)
class SweepConfig(RunConfig):
    """Train several crosscoders on one stream of activations.

    --n-latents, --k (topk, batchtopk) and --sparsity-coefficient (l1, jumprelu) take several values here; each
    combination is one crosscoder.
    """

    DEFAULTS: ClassVar[Mapping[str, Any]] = {"out": Path("runs/sweep"), "seeds": 1}
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
        settings = self.output.out / "config.json"
        if not (self.output.overwrite and settings.exists()):
            return []
        swept = read_section(settings, "run").get("swept", {})
        if not _is_swept(swept):
            raise ValueError(f"{settings} names crosscoders that no sweep has ({swept}): give another --out")
        names = {_name(values) for values in _combinations(swept)} - self.plans.keys()
        return [_folder(self.output.out / name) for name in sorted(names) if (self.output.out / name).exists()]

    def outputs(self) -> list[OutputFolder]:
        """The folders that the sweep writes."""
        own = OutputFolder(self.output.out, (RUN, findings_claim("sweep")))
        return [own, *(_folder(self.output.out / name) for name in self.plans), *self.replaced()]

    def alone(self, name: str) -> RunConfig:
        """The settings with which one of them is trained alone."""
        common = {each.name: getattr(self, each.name) for each in fields(RunConfig)}
        output = replace(self.output, out=self.output.out / name)
        return RunConfig(**common | {"output": output, "training": self.plans[name]})


def parse_sweep(arguments: Sequence[str]) -> SweepConfig:
    """The settings that a command line asks for; raises ValueError as `SweptValues.plans` does."""
    swept, others = parse(SweptValues, arguments, return_unknown_args=True, add_help=False)
    config = replace(parse_command_line(others, SweepConfig), swept=swept)
    assert config.plans, "a sweep trains something"
    return config


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


def _combinations(swept: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    given = {name: values for name, values in swept.items() if values}
    return [dict(zip(given, values, strict=True)) for values in product(*given.values())] if given else []


def _name(values: Mapping[str, int | float]) -> str:
    return "_".join(f"{name.replace('_', '-')}-{value}" for name, value in values.items())


def _flag(name: str) -> str:
    """A setting's name on the command line."""
    return f"--{name.replace('_', '-')}"
