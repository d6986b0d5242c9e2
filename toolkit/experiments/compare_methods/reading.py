"""What methods are given of a pair: activations of running text to learn from, and labelled documents to test them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.dictionaries.initialisation import estimate_scale
from toolkit.experiments.compare_methods.logit_changes import logit_changes
from toolkit.harvest.activations import read_batches
from toolkit.harvest.documents import Corpus
from toolkit.latents.labelled_activations import LabelledActivations, labelled_activations
from toolkit.latents.span_labels import LabelledDocuments
from toolkit.models.model_set import ModelSet
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.tracking import track
from toolkit.training.streams import open_mask, open_tokens

LAST = 1  # place of the distilled model on the stream axis


@dataclass(frozen=True, kw_only=True, eq=False)
class RunningText:
    """Activations of unlabelled text in raw units, in random order, as fp32 on the CPU."""

    activations: Float[Tensor, "token stream d_model"]
    position: Int[Tensor, " token"]
    """Each token's place in its document; 0 is left out, an attention sink."""
    scale: Float[Tensor, " stream"]
    """Factor per stream that brings both to one mean norm: √d / mean‖x‖."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PairText:
    """One pair's text."""

    running: RunningText
    labelled: LabelledActivations
    changes: Float[Tensor, "token change"]
    """What of the next token's prediction the last model changed, at each labelled token; see `logit_changes`."""

    def both(self) -> Float[Tensor, "token width"]:
        """Both scaled streams side by side, at labelled tokens."""
        return (self.labelled.activations * self.running.scale[:, None]).flatten(1)

    def distilled(self) -> Float[Tensor, "token d_model"]:
        """The last model's scaled stream."""
        return self.labelled.activations[:, LAST] * self.running.scale[LAST]

    def difference(self) -> Float[Tensor, "token d_model"]:
        """Last less first, scaled."""
        return difference(self.labelled.activations, self.running.scale)


def difference(
    x: Float[Tensor, "token stream d_model"], scale: Float[Tensor, " stream"]
) -> Float[Tensor, "token d_model"]:
    """Return what the last model's stream has more than the first one's, each brought to one mean norm."""
    return x[:, LAST] * scale[LAST] - x[:, 0] * scale[0]


@torch.no_grad()
def read_pair(run: RunConfig, models: ModelSet, corpus: Corpus, labelled: LabelledDocuments, tokens: int) -> PairText:
    """Read both kinds of text; raises `ValueError` for text of less than `tokens` tokens."""
    read = labelled_activations(models, open_mask(run.mask, models), labelled, run.text.row_length)
    return PairText(
        running=read_running(run, models, corpus, tokens), labelled=read, changes=logit_changes(models, read)
    )


def read_running(run: RunConfig, models: ModelSet, corpus: Corpus, tokens: int) -> RunningText:
    """Read the first `tokens` tokens of the training text; raises `ValueError` where there are fewer."""
    parts = list(track(_parts(run, models, corpus, tokens), "reading text", "tokens", total=tokens, size=_size))
    x, position = (torch.cat(part)[:tokens] for part in zip(*parts, strict=True))
    if len(x) < tokens:
        raise ValueError(f"the text {run.text.data} holds {len(x):,} tokens, and tokens is {tokens:,}: lower --tokens")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(run.seed))
    return RunningText(activations=x[order], position=position[order], scale=estimate_scale(x))


def _parts(run: RunConfig, models: ModelSet, corpus: Corpus, tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    stream, left = open_tokens(run.text, models, corpus.train, seed=run.seed), tokens
    for read in read_batches(models, stream, open_mask(run.mask, models)):
        yield read.activations.float().cpu(), read.selected.nonzero()[:, 1].cpu()
        left -= len(read.activations)
        if left <= 0:
            return


def _size(part: tuple[Tensor, Tensor]) -> int:
    return len(part[0])
