"""At which layers does the distilled model's residual stream part from the base model's, and how far?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.experiments.compare_methods import CompareMethodsConfig
from toolkit.experiments.control import is_embedded, with_control
from toolkit.experiments.layer_divergence import LayerDivergenceConfig
from toolkit.experiments.layer_divergence.study import Curves, divergence
from toolkit.experiments.run import Run
from toolkit.fields import changed, leaves
from toolkit.harvest.documents import Corpus
from toolkit.harvest.tokens import TokenBatch, TokenMask, describe_documents
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model_set import ModelSet
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS, PAPER_DEFAULTS, RunConfig
from toolkit.statistics.resampling import random_cycle
from toolkit.tracking import track
from toolkit.training import streams
from toolkit.training.streams import fitting_tokens, open_mask, open_tokens

ACTIVATIONS_HELD = 2**28
OTHER_TOKEN = "other"


@dataclass(frozen=True, kw_only=True)
class LayerDivergence:
    """Curves by what is set against the first model: the others, and the second at another token.

    Of each model after the second there is also the second's less its own, token by token: of a control, that is what
    more training alone does not explain.
    """

    models: tuple[str, ...]
    """Names: the model that others are set against, the one that is examined, then its yardsticks."""
    curves: dict[str, Curves]
    tokens: int
    documents: int
    text: str
    """Which text was read, and what became of its documents."""
    keep_position_0: bool
    origin: dict[str, Any]
    """What is known of the text."""


def measure(settings: LayerDivergenceConfig, opened: ModelSet | Run) -> LayerDivergence:
    """Compare the inputs of all layers on held-out text; each model reads each batch once.

    The models of a run are compared on the run's text. Raises `ValueError` for a control of another shape, and for text
    without two tokens in a row.
    """
    if isinstance(opened, Run):
        return compare(settings, opened.models, opened.reading, opened.corpus)
    return compare(settings, opened, *open_text(settings, opened))


def open_text(config: LayerDivergenceConfig | CompareMethodsConfig, pair: ModelSet) -> tuple[RunConfig, Corpus]:
    """The text that such a pair is trained on, unless another is asked for, with the settings to read it by."""
    defaults = EMBEDDED_DEFAULTS if is_embedded(pair) else PAPER_DEFAULTS
    asked = dict(leaves(config.text)) if config.text.data is not None else {}
    row_length = min(defaults.text.row_length, pair.context)
    run = changed(defaults, seed=config.seed, row_length=row_length, **asked)
    corpus = streams.open_text(run.text, run.seed)
    return run, corpus if config.text.data is None else corpus.read_whole()


@torch.no_grad()
def compare(settings: LayerDivergenceConfig, pair: ModelSet, run: RunConfig, corpus: Corpus) -> LayerDivergence:
    """The same on a text that is open, read by the settings of `run`."""
    generator = torch.Generator().manual_seed(settings.seed)
    models = with_control(settings.models, settings.where, pair)
    mask = open_mask(run.mask, pair)
    chosen = _batches(settings.tokens, pair, run, corpus, mask)
    batches = track(chosen, "reading text", "tokens", total=settings.tokens, size=lambda batch: int(batch[1].sum()))
    parts = [_document_sums(pair, models, *batch, generator) for batch in batches]
    if not parts:
        raise ValueError(f"{run.text.data} holds no document of two tokens: give text to compare the models on")
    counts = torch.cat([part[0] for part in parts])
    _, examined, *yardsticks = models
    names = (examined, OTHER_TOKEN, *yardsticks)
    sums = dict(zip(names, torch.cat([part[1] for part in parts]).unbind(dim=1), strict=True))
    sums |= {less(examined, name): sums[examined] - sums[name] for name in yardsticks}
    return LayerDivergence(
        models=tuple(models),
        curves={name: Curves.of(of_documents, counts, generator) for name, of_documents in sums.items()},
        tokens=int(counts.sum()),
        documents=len(counts),
        text=f"{run.text.data}, {corpus.part}: {describe_documents(mask.counts)}",
        keep_position_0=run.mask.keep_position_0,
        origin=corpus.origin,
    )


def less(examined: str, yardstick: str) -> str:
    """What the difference of two models' curves is called."""
    return f"{examined} − {yardstick}"


def _batches(
    tokens: int, pair: ModelSet, run: RunConfig, corpus: Corpus, mask: TokenMask
) -> Iterator[tuple[TokenBatch, Tensor]]:
    """Batches with the tokens to compare, until there are enough; small enough to hold all layers of two models."""
    batch_tokens = fitting_tokens(run.text, ACTIVATIONS_HELD, 2 * pair.n_layers * pair.d_model)
    for batch in open_tokens(run.text, pair, corpus.held_out, seed=run.seed, batch_tokens=batch_tokens):
        selected = mask.tokens(batch)
        selected &= selected.flatten().cumsum(dim=0).view_as(selected) <= tokens
        tokens -= int(selected.sum())
        yield batch, selected
        if tokens <= 0:
            return


def _document_sums(
    pair: ModelSet,
    models: Mapping[str, TracedModel],
    batch: TokenBatch,
    selected: Tensor,
    generator: torch.Generator,
) -> tuple[Float[Tensor, " document"], Float[Tensor, "document comparison layer 3"]]:
    """Tokens, and sums over them of every comparison, of each row that has any."""
    pair.check_ids(batch.input_ids, batch.attention_mask)
    rows = selected.nonzero()[:, 0]
    other_token = random_cycle(len(rows), generator)
    layers = []
    for of_reference, examined, *rest in zip(*(_read(each, batch, selected) for each in models.values()), strict=True):
        compared = (examined, examined[other_token], *rest)
        layers.append(torch.stack([divergence(of_reference, each) for each in compared], dim=1))
    values = torch.stack(layers, dim=2).double()
    sums = torch.zeros(len(selected), *values.shape[1:], dtype=torch.float64).index_add_(0, rows, values)
    counts = selected.sum(dim=1).double()
    return counts[counts > 0], sums[counts > 0]


def _read(model: TracedModel, batch: TokenBatch, selected: Tensor) -> list[Tensor]:
    """Each layer's input at the selected tokens."""
    read = model.selected(batch.input_ids, batch.attention_mask, selected, range(model.n_layers))
    return list(read.cpu().unbind(dim=1))
