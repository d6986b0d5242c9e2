"""What an experiment examines beside models, and where its findings go: the parts of its settings."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.fields import ShortRepr
from toolkit.models.presets import CHECKOUT
from toolkit.outputs import Claim, OutputFolder, findings_claim

SHIPPED = CHECKOUT / "artifacts" / "crosscoder"
SHIPPED_NULL = CHECKOUT / "artifacts" / "null_crosscoder"


@dataclass(frozen=True, kw_only=True, repr=False)
class CrosscoderChoice(ShortRepr):
    """Which crosscoder is examined."""

    run: Path = SHIPPED
    """Run folder, or any folder with a crosscoder; default: the shipped one."""
    null_run: Path | None = None
    """Run folder of a crosscoder on the null pair: base, and a model trained on from it as much without distillation.
    What is claimed of the distilled model must not show there. Default: the shipped one, for the shipped crosscoder."""
    other_models: bool = False
    """Accept models of other names than those the crosscoder was trained on: copies, or another checkpoint."""
    layer: int | None = None
    """Layer at whose input to edit, where the crosscoder reads several layers."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", Path(self.run))  # Python may give a string
        if self.null_run is not None:
            object.__setattr__(self, "null_run", Path(self.null_run))

    @property
    def null(self) -> Path | None:
        """The null run that is named, or the shipped one for the shipped crosscoder; None where there is none."""
        # Not a value of the field: these settings may become those of another run, which has no part in it.
        return SHIPPED_NULL if self.null_run is None and self.run.absolute() == SHIPPED else self.null_run


@dataclass(frozen=True, kw_only=True, repr=False)
class TextChoice(ShortRepr):
    """Which text is read."""

    data: str | None = None
    """Text to read: organism, reasoning+general, a hub dataset, or local files.
    Default: the text that the crosscoder, or such a pair, is trained on, of which only the held-out part is read."""
    text_field: str = "text"
    """Field of a record that holds its text; of a record without this field, the chat messages are read."""


@dataclass(frozen=True, kw_only=True, repr=False)
class FindingsOutput(ShortRepr):
    """Where findings are written."""

    out: Path
    """Folder for the page, its figures and the JSON of results."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))  # Python may give a string

    def folders(self, *findings: str, others: tuple[Claim, ...] = ()) -> list[OutputFolder]:
        """The folder, with what is written in it: findings of these names, and others."""
        return [OutputFolder(self.out, (*map(findings_claim, findings), *others))]
