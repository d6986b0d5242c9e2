"""The settings of an adapter's training run: its parts, its command line, its defaults, and its `config.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.adapters.configs import AdapterTrainingConfig
from toolkit.fields import BESIDE_RESULT, ShortRepr, changed, of_result
from toolkit.harvest.choices import EMBEDDED, EMBEDDED_NULL, EMBEDDED_THINKING
from toolkit.models.where import Where
from toolkit.outputs import OutputFolder
from toolkit.ranges import Count, Seed, check_ranges
from toolkit.settings.models import ModelChoice
from toolkit.settings.parsing import parse
from toolkit.settings.run_files import ADAPTER_RUN
from toolkit.settings.training_output import TrainingOutput

PUBLISHED_TEXT = "nathu0/transcoder-adapters-openthoughts3-stratified-55k"


@dataclass(frozen=True, kw_only=True, repr=False)
class AdapterText(ShortRepr):
    """Which text is read, and how it is cut."""

    data: str = EMBEDDED_THINKING
    """Text to train on: organism-thinking, a hub dataset, or local files: .txt, .jsonl(.gz) or .parquet.
    Conversations are laid out in the distilled model's chat template. A hub dataset's validation split is held out;
    of other text every twentieth document."""
    text_field: str = "text"
    """Field of a record that holds its text; of a record without this field, the conversation is read."""
    row_length: Count = 320
    """Tokens after which a document is cut."""
    held_out_documents: Count = 128
    """Documents, never trained on, that the adapter is evaluated on."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True, repr=False)
class AdapterOutput(TrainingOutput):
    """Where the run is written, and how often."""

    out: Path = field(default=Path("runs/adapter"), metadata=BESIDE_RESULT)
    """Run folder: the adapter, its settings, metrics, figures and report."""


PARTS = ("text", "output", "models", "where")
"""Parts of a run whose settings stand in its `config.json` without the part's name."""


@dataclass(frozen=True, kw_only=True, repr=False)
class AdapterRunConfig(ShortRepr):
    """Train a sparse transcoder for each layer, which together stand for what distillation changed in the MLPs.

    Without arguments: the embedded pair, in about five minutes on two cores. With --pair or --base and --distilled the
    defaults become the published ones, for models of 1.5B parameters and more; add --help to see them.
    """

    seed: Seed = 0
    """Seed of data order, initial weights, and the layers at which models change over."""
    training: AdapterTrainingConfig = AdapterTrainingConfig()
    text: AdapterText = AdapterText()
    output: AdapterOutput = AdapterOutput()
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        self.where.check_whole_here()

    def outputs(self) -> list[OutputFolder]:
        """The folder that the run writes."""
        return [OutputFolder(self.output.out, (ADAPTER_RUN,))]

    def settings(self) -> dict[str, Any]:
        """What decides the result, as `config.json` holds it: all but where the run lies, runs, and how it starts."""
        values: dict[str, Any] = {"seed": self.seed, "training": of_result(self.training)}
        for name in PARTS:
            values |= of_result(getattr(self, name))
        return values

    @classmethod
    def from_settings(cls, saved: Mapping[str, Any]) -> "AdapterRunConfig":
        """The run whose `settings` these are; raises `TypeError` or `ValueError` for those of something else."""
        values = dict(saved)
        return changed(cls(training=AdapterTrainingConfig(**values.pop("training"))), **values)


EMBEDDED_DEFAULTS = AdapterRunConfig(
    models=ModelChoice(pair=EMBEDDED),
    training=AdapterTrainingConfig(
        n_latents=512,
        sequences=4400,
        batch_sequences=4,
        sparsity_coefficient=1.5e-4,
        optimiser="muon",
        lr=4e-2,
        recompute=False,
    ),
)
PUBLISHED_DEFAULTS = AdapterRunConfig(text=AdapterText(data=PUBLISHED_TEXT, row_length=10_000))


@dataclass(frozen=True, kw_only=True)
class _Models:
    """What decides the defaults of all else."""

    models: ModelChoice = ModelChoice()


def parse_command_line(arguments: Sequence[str]) -> AdapterRunConfig:
    """The settings that a command line asks for; which models it names decides the defaults."""
    asked, _ = parse(_Models, arguments, return_unknown_args=True, add_help=False)
    embedded = asked.models in (ModelChoice(), *(ModelChoice(pair=name) for name in (EMBEDDED, EMBEDDED_NULL)))
    settings: AdapterRunConfig = parse(
        AdapterRunConfig, arguments, default=EMBEDDED_DEFAULTS if embedded else PUBLISHED_DEFAULTS
    )
    return settings
