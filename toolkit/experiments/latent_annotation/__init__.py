"""What do latents mean? Labels by rules or by a language model, and how well their explanations predict firing."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.annotation.reply_cache import REPLIES
from toolkit.annotation.server_choice import ServerChoice
from toolkit.fields import ShortRepr
from toolkit.models.where import Where
from toolkit.outputs import BROWSER, Claim, OutputFolder
from toolkit.ranges import Count, Seed, check_ranges
from toolkit.settings.findings import CrosscoderChoice, FindingsOutput, TextChoice
from toolkit.settings.models import ModelChoice

LABELS, NEURONPEDIA = "labels.json", "neuronpedia.jsonl"
LABEL_FILES = Claim(files=(LABELS, NEURONPEDIA))
"""The labels, for `--compare` and for Neuronpedia."""


@dataclass(frozen=True, kw_only=True, repr=False)
class LatentAnnotationConfig(ShortRepr):
    """Label latents with a category and an explanation, and test the explanations on text that they were not made from.

    Rules label them, offline; with --base-url and --model a language model on any OpenAI-compatible server does. The
    output folder also gets labels.json, neuronpedia.jsonl and latents.html. A server's replies are kept in
    replies.sqlite: a stopped run goes on from there, and asks nothing twice.
    """

    latents: tuple[str, ...] = ()
    """Latents to label, by index, of an adapter by layer/index: 3/17. Default: those of --category, or else --n at
    either end of the NRN scale and --n in its middle; of an adapter three times --n that fire, at random."""
    category: str | None = None
    """Label the --n latents that fire most on a category's words, by their lift."""
    n: Count = 100
    """Latents of each kind. With a server, each costs about 60 requests."""
    adapter: Path | None = None
    """Folder of a transcoder adapter, or a published checkpoint, whose latents are labelled in place of a
    crosscoder's."""
    tokens: Count = 65_536
    """Held-out tokens in which passages are looked for."""
    compare: tuple[Path, ...] = ()
    """Files labels.json of other annotators: how far do they agree? They must be of the same latents."""
    spans: Path | None = None
    """Labelled documents (.jsonl with text and spans, or annotated reasoning traces): the rules give a latent whose
    firings lie in a label's spans that label's category, and the best latent of each label is labelled too. Default,
    for the embedded pair's crosscoders alone: answers with the behaviours that were written into them."""
    labelled: Count = 160
    """How many of these answers."""
    lexicon: Path | None = None
    """JSON file of category words, {"category": ["word", ...]}; default: those of the paper."""
    seed: Seed = 0
    """Seed of every draw: passages, their order, marks, controls."""
    server: ServerChoice = ServerChoice()
    text: TextChoice = TextChoice()
    output: FindingsOutput = FindingsOutput(out=Path("runs/annotate_latents"))
    crosscoder: CrosscoderChoice = CrosscoderChoice()
    models: ModelChoice = ModelChoice()
    where: Where = Where()

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.latents and self.category is not None:
            raise ValueError(f"latents {' '.join(self.latents)} and category {self.category}: give one of the two")
        if self.adapter is not None and self.spans is not None:
            raise ValueError(f"spans {self.spans}: labelled spans are read for crosscoders alone, leave out --adapter")

    def outputs(self) -> list[OutputFolder]:
        """The folder that is written."""
        return self.output.folders("latent_annotation", others=(BROWSER, LABEL_FILES, REPLIES))
