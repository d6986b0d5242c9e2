"""The settings of a crosscoder run: its command line, its defaults, and its `config.json`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from toolkit.dictionaries.configs import TrainingConfig, check_latent_budget
from toolkit.fields import of_result
from toolkit.harvest.choices import EMBEDDED, PAPER_MIX, CacheType, Shuffling, check_row_length
from toolkit.outputs import OutputFolder
from toolkit.ranges import Count, Factor, Seed, Share
from toolkit.settings.flat_models import ModelsChoice
from toolkit.settings.parsing import parse
from toolkit.settings.remote_start import hosted_pair, value_of
from toolkit.settings.run_files import RUN

PLACE_FIELDS = ("out", "resume", "overwrite", "export", "cache", "shard")


@dataclass(frozen=True, kw_only=True)
class RunConfig(ModelsChoice):
    """Train a crosscoder on a base model and the model distilled from it, evaluate it, and report.

    Without arguments: the embedded pair, in under three minutes on two cores. With --pair or --base and --distilled the
    defaults become those for models of 1.5B parameters and more; add --help to see them.
    """

    out: Path = Path("runs/crosscoder")
    """Run folder: the crosscoder, its settings, metrics, figures and report."""
    resume: bool = False
    """Continue the run in --out from its last checkpoint; it ends in the same weights as a run that never stopped."""
    overwrite: bool = False
    """Replace the run in --out."""
    export: Literal["dictionary_learning"] | None = None
    """Write the crosscoder in another library's format too, into a folder of that library's name in --out."""

    layers: tuple[int, ...] = ()
    """Read the residual stream at the input of these decoder layers; default: the pair's own, or the middle one."""

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

    keep_position_0: bool = False
    """Keep the first token of each document, an attention sink of huge norm, in training and statistics."""
    drop_tokens: tuple[str, ...] = ()
    """Leave out these tokens; `special` stands for all that the tokenizer calls special."""
    outlier_factor: Factor = 10.0
    """Leave out tokens whose norm in any stream is more than this many times the running median; inf keeps all."""
    buffer_tokens: Count = 32_768
    """Activations in the shuffle buffer."""
    buffer_dtype: Literal["fp32", "bf16"] = "fp32"
    """Type of the activations in the shuffle buffer."""
    cache: Path | None = None
    """Folder that stores activations: those it holds are read from it, those it lacks are harvested and added."""
    cache_dtype: CacheType | None = None
    """Type of the activations in --cache; int8 has a scale per vector.
    Default: --buffer-dtype, which changes no result."""

    shards: Count | None = None
    """Parts that the text is split into; each is shuffled by itself, and a batch takes as many tokens from each.
    The number of parts changes the weights; the number of processes that divide the parts among them does not.
    Default: one part for each process."""
    shard: Literal["tokens", "latents"] = "tokens"
    """What the processes of a run divide among them in training: the tokens of a batch, or the latents.
    Divide the latents where the dictionary is too large for one device."""

    seed: Seed = 0
    """Seed of data order, shuffling and initial weights."""
    checkpoint_steps: Count = 200
    """Steps between two checkpoints."""
    keep_checkpoints: Count = 2
    """How many of the newest checkpoints are kept."""

    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How the crosscoder is trained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_row_length(self.row_length, self.forward_tokens)
        check_latent_budget(self.training, n_models=2)
        assert self.shuffling, "it checks itself"
        if abs(sum(self.mix) - 1) > 1e-6:
            raise ValueError(f"--mix {self.mix}: give two probabilities that add up to 1")
        if self.export:
            from toolkit.dictionaries.export import require_exportable  # loads torch, which settings do without

            require_exportable(self.training.sparsity)

    def outputs(self) -> list[OutputFolder]:
        """The folders that the run writes."""
        return [OutputFolder(self.out, (RUN,))]

    def settings(self) -> dict[str, Any]:
        """What decides the result: all fields but where the run lies, where it runs and how it starts."""
        decide = of_result(self)
        values = {name: value for name, value in asdict(self).items() if name in decide and name not in PLACE_FIELDS}
        return values | {"cache_dtype": self.stored_dtype if self.cache else None}

    @property
    def shuffling(self) -> Shuffling:
        """How activations are shuffled and drawn; raises `ValueError` for numbers that do not fit each other."""
        return Shuffling(
            shards=self.shards or 1,
            buffer_tokens=self.buffer_tokens,
            batch_tokens=self.training.batch_tokens,
            dtype=self.buffer_dtype,
            seed=self.seed,
        )

    @property
    def stored_dtype(self) -> CacheType:
        """Type of the activations in the cache."""
        return self.cache_dtype or self.buffer_dtype


Config = TypeVar("Config", bound=RunConfig)

EMBEDDED_DEFAULTS = RunConfig(
    pair="organism",
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
    data=PAPER_MIX,
    row_length=2048,
    forward_tokens=16_384,
    held_out_tokens=262_144,
    buffer_tokens=262_144,
    buffer_dtype="bf16",
    checkpoint_steps=1000,
    training=TrainingConfig(),
)


def parse_command_line(arguments: Sequence[str], kind: type[Config] = RunConfig) -> Config:  # type: ignore[assignment]
    """The settings that a command line asks for.

    Which models it names decides the defaults, but for those that a `kind` of settings of its own declares. With
    --remote and no models, they are a pair that the server has. Raises `ValueError` as `hosted_pair` does.
    """
    named = {argument.split("=")[0] for argument in arguments}
    pair = None if named & {"--base", "--distilled"} else value_of(arguments, "--pair", EMBEDDED)
    defaults = EMBEDDED_DEFAULTS if pair == EMBEDDED else PAPER_DEFAULTS
    if "--remote" in named and not named & {"--pair", "--base", "--distilled", "--help", "-h"}:
        pair = hosted_pair(value_of(arguments, "--insecure-host", None))
        defaults = EMBEDDED_DEFAULTS if pair == EMBEDDED else replace(PAPER_DEFAULTS, pair=pair)
    own = () if kind is RunConfig else kind.__annotations__
    default = kind(**{name: value for name, value in vars(defaults).items() if name not in own})
    settings: Config = parse(kind, arguments, default=default)
    return settings
