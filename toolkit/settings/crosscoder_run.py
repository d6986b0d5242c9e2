"""The settings of a crosscoder run: its parts, its command line, its defaults, and its `config.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from toolkit.dictionaries.configs import TrainingConfig, check_latent_budget
from toolkit.fields import BESIDE_RESULT, ShortRepr, beside_result, changed, of_result
from toolkit.harvest.choices import AHEAD, EMBEDDED, EMBEDDED_NULL, PAPER_MIX, CacheType, Shuffling, check_row_length
from toolkit.models.where import Where
from toolkit.outputs import OutputFolder
from toolkit.ranges import Count, Factor, Seed, Share, check_ranges
from toolkit.settings.models import ModelChoice
from toolkit.settings.parsing import parse
from toolkit.settings.remote_start import hosted_pair
from toolkit.settings.run_files import RUN
from toolkit.settings.training_output import TrainingOutput


@dataclass(frozen=True, kw_only=True, repr=False)
class TextSettings(ShortRepr):
    """Which text is read, and how it is cut."""

    data: str = EMBEDDED
    """Text to train on: organism, reasoning+general (OpenThoughts-114k with RedPajama-1T-Sample), a hub dataset,
    or local files: .txt, .jsonl(.gz) or .parquet."""
    text_field: str = "text"
    """Field of a record that holds its text; of a record without this field, the chat messages are read."""
    mix: tuple[Share, Share] = (0.5, 0.5)
    """Probabilities of reasoning and general text in reasoning+general."""
    row_length: Count = 320
    """Tokens after which a document is cut."""
    forward_tokens: Count = 8192
    """Most tokens in one forward pass, padding included.
    The number decides which rows are read together, and so the result.
    A pass that does not fit in memory is split in two, which does not change the result."""
    held_out_tokens: Count = 65_536
    """Tokens, never trained on, that the crosscoder is evaluated on."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_row_length(self.row_length, self.forward_tokens)
        if abs(sum(self.mix) - 1) > 1e-6:
            raise ValueError(f"--mix {self.mix}: give two probabilities that add up to 1")


@dataclass(frozen=True, kw_only=True, repr=False)
class MaskSettings(ShortRepr):
    """Which tokens count."""

    keep_position_0: bool = False
    """Keep the first token of each document, an attention sink of huge norm, in training and statistics."""
    drop_tokens: tuple[str, ...] = ()
    """Leave out these tokens; `special` stands for all that the tokenizer calls special."""
    outlier_factor: Factor = 10.0
    """Leave out tokens whose norm in any stream is more than this many times the running median; inf keeps all."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True, repr=False)
class FeedSettings(ShortRepr):
    """How activations come to training: shuffled, perhaps from a cache, shared out over processes."""

    buffer_tokens: Count = 32_768
    """Activations in the shuffle buffer."""
    buffer_dtype: Literal["fp32", "bf16"] = "fp32"
    """Type of the activations in the shuffle buffer."""
    cache: Path | None = field(default=None, metadata=BESIDE_RESULT)
    """Folder that stores activations: those it holds are read from it, those it lacks are harvested and added."""
    cache_dtype: CacheType | None = None
    """Type of the activations in --cache; int8 has a scale per vector.
    Default: --buffer-dtype, which changes no result."""
    shards: Count | None = None
    """Parts that the text is split into; each is shuffled by itself, and a batch takes as many tokens from each.
    The number of parts changes the weights; the number of processes that divide the parts among them does not.
    Default: one part for each process."""
    shard: Literal["tokens", "latents"] = field(default="tokens", metadata=BESIDE_RESULT)
    """What the processes of a run divide among them in training: the tokens of a batch, or the latents.
    Divide the latents where the dictionary is too large for one device."""

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def stored_dtype(self) -> CacheType:
        """Type of the activations in the cache."""
        return self.cache_dtype or self.buffer_dtype


@dataclass(frozen=True, kw_only=True, repr=False)
class RunOutput(TrainingOutput):
    """Where the run is written, and how often."""

    out: Path = field(default=Path("runs/crosscoder"), metadata=BESIDE_RESULT)
    """Run folder: the crosscoder, its settings, metrics, figures and report."""
    export: Literal["dictionary_learning"] | None = field(default=None, metadata=BESIDE_RESULT)
    """Write the crosscoder in another library's format too, into a folder of that library's name in --out."""
    log: Literal["tensorboard", "wandb", "trackio"] | None = field(default=None, metadata=BESIDE_RESULT)
    """Show the training steps in this tool too, where its package is installed; TensorBoard reads --out/tensorboard.
    A resumed run continues the same log."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.log and find_spec(self.log) is None:
            raise ValueError(
                f"--log {self.log}: the package {self.log} is not installed: pip install {self.log}, or leave out --log"
            )


FLAT = ("text", "mask", "feed", "output", "models", "where")
"""Parts of a run whose settings stand in its `config.json` without the part's name."""


@dataclass(frozen=True, kw_only=True, repr=False)
class RunConfig(ShortRepr):
    """Train a crosscoder on a base model and the model distilled from it, evaluate it, and report.

    Without arguments: the embedded pair, in about three minutes on two cores. With --pair or --base and --distilled the
    defaults become those for models of 1.5B parameters and more; add --help to see them.
    """

    DEFAULTS: ClassVar[Mapping[str, Any]] = {}
    """Defaults of this kind of settings alone, by name, in place of those that the models decide."""

    layers: tuple[int, ...] = ()
    """Read the residual stream at the input of these decoder layers; default: the pair's own, or the middle one."""
    seed: Seed = 0
    """Seed of data order, shuffling and initial weights."""
    seeds: Count = field(default=1, metadata=beside_result(unless=lambda run: run.seeds > 1))
    """How many crosscoders to train on the same stream, each from other initial weights.
    The first is the run's own; the others, of the seeds that follow, lie in folders of the run.
    Findings then say how much they owe to the chance of one training."""
    training: TrainingConfig = TrainingConfig()
    text: TextSettings = TextSettings()
    mask: MaskSettings = MaskSettings()
    feed: FeedSettings = FeedSettings()
    output: RunOutput = RunOutput()
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        check_latent_budget(self.training, n_models=2)
        assert self.shuffling, "it checks itself"
        if self.output.export:
            from toolkit.dictionaries.export import require_exportable  # loads torch, which settings do without

            require_exportable(self.training.sparsity)

    @property
    def trained_seeds(self) -> range:
        """The seeds of all crosscoders' initial weights, the run's own first."""
        return range(self.seed, self.seed + self.seeds)

    def outputs(self) -> list[OutputFolder]:
        """The folders that the run writes."""
        return [OutputFolder(self.output.out, (RUN,))]

    def settings(self) -> dict[str, Any]:
        """What decides the result, as `config.json` holds it: all but where the run lies, runs, and how it starts."""
        values: dict[str, Any] = {}
        for name, value in of_result(self).items():
            if name in FLAT:
                values |= of_result(value)
            else:
                values[name] = of_result(value) if is_dataclass(value) else value
        return values | {"cache_dtype": self.feed.stored_dtype if self.feed.cache else None}

    @classmethod
    def from_settings(cls, saved: Mapping[str, Any]) -> "RunConfig":
        """The run whose `settings` these are; raises `TypeError` or `ValueError` for those of something else."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()
        }
        training = TrainingConfig(**values.pop("training"))
        return changed(cls(training=training), **values)

    @property
    def shuffling(self) -> Shuffling:
        """How activations are shuffled and drawn; raises `ValueError` for numbers that do not fit each other."""
        return Shuffling(
            shards=self.feed.shards or 1,
            buffer_tokens=self.feed.buffer_tokens,
            batch_tokens=self.training.batch_tokens,
            dtype=self.feed.buffer_dtype,
            seed=self.seed,
        )


EMBEDDED_DEFAULTS = RunConfig(
    models=ModelChoice(pair=EMBEDDED),
    seeds=3,
    training=TrainingConfig(
        tokens=800_000,
        batch_tokens=1024,
        n_latents=768,
        k=18,
        k_initial=60,
        k_anneal_steps=250,
        lr=2e-3,
        lr_warmup_steps=50,
        decoder_init_norm=0.2,
        aux_coefficient=1 / 8,
        dead_after_tokens=50_000,
        threshold_decay=0.99,
    ),
)
PAPER_DEFAULTS = RunConfig(
    text=TextSettings(data=PAPER_MIX, row_length=2048, forward_tokens=16_384, held_out_tokens=262_144),
    feed=FeedSettings(buffer_tokens=262_144, buffer_dtype="bf16"),
    output=RunOutput(checkpoint_steps=1000),
)


@dataclass(frozen=True, kw_only=True, repr=False)
class CacheConfig(RunConfig):
    """Harvest what training reads into --cache, without training.

    All settings are those of train_crosscoder.py, so that one command line fits both; of training only --tokens counts.
    """

    DEFAULTS: ClassVar[Mapping[str, Any]] = {"cache": Path("runs/cache")}

    repair: bool = False
    """Harvest again the shards of --cache that are missing or corrupt, and nothing else."""

    def outputs(self) -> list[OutputFolder]:
        """None: a cache locks its folders itself."""
        return []

    @property
    def tokens_read(self) -> int:
        """Tokens that training reads of each shard of the text: its own, those left in its buffer, those read ahead."""
        shared = self.training.tokens + self.feed.buffer_tokens
        return shared // (self.feed.shards or 1) + (AHEAD + 1) * self.text.forward_tokens


Config = TypeVar("Config", bound=RunConfig)


@dataclass(frozen=True, kw_only=True)
class _Models:
    """What decides the defaults of all else."""

    models: ModelChoice = ModelChoice()
    where: Where = Where()


def parse_command_line(arguments: Sequence[str], kind: type[Config] = RunConfig) -> Config:  # type: ignore[assignment]
    """The settings that a command line asks for.

    Which models it names decides the defaults, but for those that a `kind` of settings of its own declares. With
    --remote and no models, they are a pair that the server has. Raises `ValueError` as `hosted_pair` does.
    """
    asked, _ = parse(_Models, arguments, return_unknown_args=True, add_help=False)
    models, remote = asked.models, asked.where.remote and not asked.models.are_named()
    if remote:
        parse(kind, arguments, default=_defaults(kind, PAPER_DEFAULTS))  # before the server is asked
        models = ModelChoice(pair=hosted_pair(asked.where.insecure_host))
    embedded = models in (ModelChoice(), *(ModelChoice(pair=name) for name in (EMBEDDED, EMBEDDED_NULL)))
    defaults = EMBEDDED_DEFAULTS if embedded else PAPER_DEFAULTS
    settings: Config = parse(
        kind, arguments, default=_defaults(kind, changed(defaults, pair=models.pair) if remote else defaults)
    )
    return settings


def _defaults(kind: type[Config], common: RunConfig) -> Config:
    return changed(kind(**vars(common)), **kind.DEFAULTS)
