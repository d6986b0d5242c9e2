"""At which layers does the distilled model's residual stream part from the base model's, and how far?"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.experiments.control import CONTROL, ControlConfig, is_embedded, open_control
from toolkit.experiments.run import TextConfig
from toolkit.geometry.divergence import MEASURES, divergence, farthest_layer_shares, farthest_layers
from toolkit.harvest.documents import Corpus, open_corpus
from toolkit.harvest.masks import TokenMask
from toolkit.harvest.tokens import TokenBatch, describe_documents
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.pair import ModelPair
from toolkit.ranges import Count
from toolkit.reports.findings import Chart, Findings, Headline, Table
from toolkit.reports.findings_figures import layer_curves
from toolkit.reports.formatting import percent
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS, PAPER_DEFAULTS, RunConfig
from toolkit.statistics import Estimate, around, random_cycle, ratio_of_sums
from toolkit.tracking import track
from toolkit.training.streams import fitting_tokens, open_mask, open_tokens

LEVEL = 0.99
ENDS = {"mean": "value", "low": "low", "high": "high"}
ACTIVATIONS_HELD = 2**28
DISTILLED, OTHER_TOKEN, BEYOND = "distilled", "other", f"distilled − {CONTROL}"


@dataclass(frozen=True, kw_only=True)
class LayerDivergenceConfig(TextConfig, ControlConfig):
    """How far the two models' residual streams are apart at each layer, on the same tokens."""

    FINDINGS = ("layer_divergence",)
    out: Path = Path("runs/layer_divergence")
    """Folder for the page, its figures and the JSON of results."""
    tokens: Count = 65_536
    """Tokens, position 0 not among them, that are compared."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What one comparison with the base model gave, by layer and measure."""

    mean: Float[Tensor, "layer 3"]
    half_width: Float[Tensor, "layer 3"]
    """Half of the 99 % interval's width, documents being the samples."""
    farthest: Int[Tensor, " 3"]
    """The layer with the largest distance, the largest relative distance, the smallest cosine."""
    farthest_share: Float[Tensor, " 3"]
    """Share of 1,000 resamples of the documents that name that layer."""


@dataclass(frozen=True, kw_only=True)
class LayerDivergence:
    """Curves by what is set against the base model: distilled, distilled at another token, and perhaps a control.

    With a control there is also `distilled − control`, token by token: what more training alone does not explain.
    """

    curves: dict[str, Curves]
    tokens: int
    documents: int
    text: str
    """Which part of the text was read, and what became of its documents."""


def open_text(config: LayerDivergenceConfig, pair: ModelPair) -> tuple[RunConfig, Corpus]:
    """The text that such a pair is trained on, unless another is asked for, with the settings to read it by."""
    defaults = EMBEDDED_DEFAULTS if is_embedded(pair) else PAPER_DEFAULTS
    data = defaults.data if config.data is None else config.data
    run = replace(defaults, data=data, text_field=config.text_field, seed=config.seed)
    run = replace(run, row_length=min(run.row_length, pair.context))
    corpus = open_corpus(run.data, text_field=run.text_field, mix=run.mix, seed=run.seed)
    return run, corpus if config.data is None else corpus.read_whole()


@torch.no_grad()
def measure_layer_divergence(
    config: LayerDivergenceConfig, pair: ModelPair, run: RunConfig, corpus: Corpus
) -> LayerDivergence:
    """Compare the inputs of all layers on held-out text; each model reads each batch once.

    Raises `ValueError` for a control of another shape, and for text of fewer than two documents.
    """
    generator = torch.Generator().manual_seed(config.seed)
    others = {DISTILLED: pair.distilled, **open_control(config, pair)}
    mask = open_mask(run, pair)
    chosen = _batches(config, pair, run, corpus, mask)
    batches = track(chosen, "reading text", "tokens", total=config.tokens, size=lambda batch: int(batch[1].sum()))
    parts = [_document_sums(pair, others, *batch, generator) for batch in batches]
    if not parts:
        raise ValueError(f"{run.data} holds no document of two tokens: give text to compare the models on")
    counts = torch.cat([part[0] for part in parts])
    names = (DISTILLED, OTHER_TOKEN, *list(others)[1:])
    sums = dict(zip(names, torch.cat([part[1] for part in parts]).unbind(dim=1), strict=True))
    if CONTROL in others:
        sums[BEYOND] = sums[DISTILLED] - sums[CONTROL]
    return LayerDivergence(
        curves={name: _curves(of_documents, counts, generator) for name, of_documents in sums.items()},
        tokens=int(counts.sum()),
        documents=len(counts),
        text=f"{corpus.part}: {describe_documents(mask.counts)}",
    )


def _batches(
    config: LayerDivergenceConfig, pair: ModelPair, run: RunConfig, corpus: Corpus, mask: TokenMask
) -> Iterator[tuple[TokenBatch, Tensor]]:
    """Batches with the tokens to compare, until there are enough; small enough to hold all layers of two models."""
    batch_tokens = fitting_tokens(run, ACTIVATIONS_HELD, 2 * pair.n_layers * pair.d_model)
    left = config.tokens
    for batch in open_tokens(run, pair, corpus.held_out, batch_tokens=batch_tokens):
        selected = mask.tokens(batch)
        selected &= selected.flatten().cumsum(dim=0).view_as(selected) <= left
        left -= int(selected.sum())
        yield batch, selected
        if left <= 0:
            return


def _document_sums(
    pair: ModelPair,
    others: dict[str, TracedModel],
    batch: TokenBatch,
    selected: Tensor,
    generator: torch.Generator,
) -> tuple[Float[Tensor, " document"], Float[Tensor, "document comparison layer 3"]]:
    """Tokens, and sums over them of every comparison, of each row that has any."""
    pair.check_ids(batch.input_ids, batch.attention_mask)
    rows = selected.nonzero()[:, 0]
    other_token = random_cycle(len(rows), generator)
    base = _read(pair.base, batch, selected)
    read = [_read(model, batch, selected) for model in others.values()]
    layers = []
    for layer, of_base in enumerate(base):
        first, *rest = (each[layer] for each in read)
        layers.append(torch.stack([divergence(of_base, x) for x in (first, first[other_token], *rest)], dim=1))
    values = torch.stack(layers, dim=2).double()
    sums = torch.zeros(len(selected), *values.shape[1:], dtype=torch.float64).index_add_(0, rows, values)
    counts = selected.sum(dim=1).double()
    return counts[counts > 0], sums[counts > 0]


def _read(model: TracedModel, batch: TokenBatch, selected: Tensor) -> list[Tensor]:
    read = model.selected(batch.input_ids, batch.attention_mask, selected, range(model.n_layers))
    return list(read.cpu().unbind(dim=1))


def _curves(sums: Tensor, counts: Tensor, generator: torch.Generator) -> Curves:
    mean, half_width = ratio_of_sums(sums, counts, LEVEL)
    return Curves(
        mean=mean,
        half_width=half_width,
        farthest=farthest_layers(mean),
        farthest_share=farthest_layer_shares(sums, generator),
    )


def layer_divergence_findings(pair: ModelPair, run: RunConfig, found: LayerDivergence) -> Findings:
    """The three measures by layer, with their controls."""
    distilled = found.curves[DISTILLED]
    names = ("largest distance", "largest relative distance", "smallest cosine")
    return Findings(
        name="layer_divergence",
        title=f"Layer divergence: {' → '.join(pair.origins)}",
        question="At which layers does the distilled model's residual stream part from the base model's?",
        facts={
            "models": " → ".join(pair.origins),
            "site": f"input of each of {pair.n_layers} layers, width {pair.d_model}",
            "text": f"{run.data}, {found.text}; {found.tokens:,} tokens of {found.documents:,} documents compared;"
            f" position 0 is {'kept' if run.keep_position_0 else 'left out'}",
        },
        headline=[
            Headline(
                name=f"layer of {name}",
                value=int(layer),
                n=found.tokens,
                unit="tokens",
                note=f"named by {percent(float(share))} of 1,000 resamples of the documents",
            )
            for name, layer, share in zip(names, distilled.farthest, distilled.farthest_share, strict=True)
        ],
        tables=[_table(index, measure, found) for index, measure in enumerate(MEASURES)],
        charts=[_chart(name, found.curves[name]) for name in (DISTILLED, BEYOND) if name in found.curves],
        results={"tokens": found.tokens, "documents": found.documents, "level": LEVEL}
        | {name: _results(curves) for name, curves in found.curves.items()},
    )


def _chart(name: str, curves: Curves) -> Chart:
    captions = {
        DISTILLED: "Distilled against base at the same token",
        BEYOND: "How much farther from base the distilled model is than the control, at the same token",
    }
    sign = torch.tensor([1.0, 1.0, -1.0])  # the smaller the cosine, the farther
    offset = torch.tensor([0.0, 0.0, float(name == DISTILLED)])
    farther = replace(curves, mean=offset + sign * curves.mean)
    measures = dict(zip((*MEASURES[:2], "1 − cosine"), _estimates(farther).values(), strict=True))
    return Chart(
        name=name.replace(" − ", "_less_"),
        figure=layer_curves(range(len(curves.mean)), measures),
        caption=f"{captions[name]}; the band is the 99 % interval over documents.",
    )


def _estimates(curves: Curves) -> dict[str, list[Estimate]]:
    columns = zip(MEASURES, curves.mean.unbind(dim=1), curves.half_width.unbind(dim=1), strict=True)
    return {name: around(mean, half_width) for name, mean, half_width in columns}


def _table(index: int, measure: str, found: LayerDivergence) -> Table:
    with_interval = [name for name in (DISTILLED, BEYOND) if name in found.curves]
    without = [name for name in (CONTROL, OTHER_TOKEN) if name in found.curves]
    estimates = [_estimates(found.curves[name])[measure] for name in with_interval]
    plain = [found.curves[name].mean[:, index].tolist() for name in without]
    rows = [[str(layer), *cells] for layer, cells in enumerate(zip(*estimates, *plain, strict=True))]
    return Table(
        title=f"{measure} from base, 99 % intervals over documents",
        columns=("layer", *with_interval, *without),
        rows=rows,
        note=f"n = {found.tokens:,} tokens of {found.documents:,} documents. {OTHER_TOKEN}: distilled at a random other"
        " token of the batch."
        + (f" {CONTROL}: a model trained on without distillation." if CONTROL in without else ""),
    )


def _results(curves: Curves) -> dict[str, dict[str, object]]:
    return {
        measure: {
            **{key: [getattr(each, name) for each in estimates] for key, name in ENDS.items()},
            "argmax": int(curves.mean[:, index].argmax()),
            "farthest": int(curves.farthest[index]),
            "farthest_share": float(curves.farthest_share[index]),
        }
        for index, (measure, estimates) in enumerate(_estimates(curves).items())
    }
