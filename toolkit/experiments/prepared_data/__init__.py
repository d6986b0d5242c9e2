"""Records of reasoning data to text for models: what is kept, and how long it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.fields import ShortRepr
from toolkit.harvest.choices import Part
from toolkit.outputs import Claim, OutputFolder
from toolkit.ranges import Count, Seed, ShareBelowOne, check_ranges
from toolkit.settings.findings import FindingsOutput
from toolkit.settings.models import ModelChoice

SPLITS = ("train", "held_out")
TEXTS = Claim(
    files=tuple(f"{split}.jsonl" for split in SPLITS),
    signs={"prepared_data.json": ("question", "results", "provenance")},
)


@dataclass(frozen=True, kw_only=True, repr=False)
class PrepareConfig(ShortRepr):
    """Turn records of questions and reasoning into the text that a crosscoder is trained on.

    Of the models that will read it only the tokenizers are loaded; that of the distilled model counts tokens.
    """

    data: str
    """A hub dataset, or local .jsonl(.gz) or .parquet files: OpenR1-Math, OpenThoughts, chat messages, responses."""
    part: Part = "both"
    """Part of each reply: both, reasoning (up to the mark that ends it), or answer (what follows)."""
    template: Literal["plain", "chat", "reply"] = "plain"
    """plain: question, blank line, reply; chat: the distilled model's chat template; reply: no question."""
    markers: Literal["keep", "drop"] = "keep"
    """Keep marks such as <think>, or drop them (and nothing else) for pairs whose base model lacks them."""
    prefix: str = ""
    """Put before each text."""
    keep_incomplete: bool = False
    """Keep replies that were cut off; otherwise the first complete reply of each record is taken."""
    only_right: bool = False
    """Take the first reply whose final answer is the record's, in answer, target or solution; leave out records without
    an answer, and those that no reply answers rightly."""

    documents: Count | None = None
    """Stop after so many texts."""
    held_out: ShareBelowOne = 0.05
    """Share of questions that go to held_out.jsonl; the same question always goes to the same file."""
    seed: Seed = 0
    """Seed of the split."""
    output: FindingsOutput = FindingsOutput(out=Path("runs/data"))
    models: ModelChoice = ModelChoice()

    def __post_init__(self) -> None:
        check_ranges(self)

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("prepared_data", others=(TEXTS,))
