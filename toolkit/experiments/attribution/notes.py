"""What is known of a graph's latents beside their edges: the tokens they promote, and text on which they fire."""

from collections.abc import Sequence

import torch

from toolkit.adapters.latent_names import latent_number
from toolkit.adapters.modes import Latent
from toolkit.attribution.graph import AttributionGraph
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.harvest.harvesting import open_mask
from toolkit.latents.coded_batches import adapter_batches, first_tokens
from toolkit.latents.examples import LatentExample, TopExamples
from toolkit.latents.logit_lens import adapter_lens
from toolkit.models.text.token_texts import vocabulary_texts
from toolkit.reports.graph_page import LatentNotes
from toolkit.reports.latent_browser import Example
from toolkit.tracking import track

EXAMPLES = 5


def graph_latents(graph: AttributionGraph) -> list[Latent]:
    """The latents of a graph, each once, wherever they stand."""
    return sorted({(layer, index) for layer, _, index in graph.latents.tolist()})


def latent_notes(run: AdapterRun, latents: Sequence[Latent], tokens: int) -> dict[Latent, LatentNotes]:
    """Return what each latent promotes, and where in `tokens` held-out tokens it fires most strongly."""
    if not latents:
        return {}
    models, n_latents = run.models, run.adapter.config.n_latents
    lens = adapter_lens(models, latents)
    found = _strongest(run, latents, tokens)
    pieces = vocabulary_texts(models.tokenizer)
    return {
        latent: LatentNotes(
            examples=[_shown(each, pieces) for each in examples],
            promoted=lens.tokens(latent_number(latent, n_latents), promoted=True),
            suppressed=lens.tokens(latent_number(latent, n_latents), promoted=False),
        )
        for latent, examples in zip(latents, found, strict=True)
    }


def _strongest(run: AdapterRun, latents: Sequence[Latent], tokens: int) -> list[list[LatentExample]]:
    """The strongest firings of each latent; only their codes are kept of a batch."""
    layers, n_latents = sorted({layer for layer, _ in latents}), run.adapter.config.n_latents
    columns = torch.tensor([layers.index(layer) * n_latents + index for layer, index in latents])
    collected = TopExamples(len(latents), top=EXAMPLES, sampled=0, generator=torch.Generator())
    coded = first_tokens(adapter_batches(run.models, layers, None, run.tokens(), open_mask()), tokens)
    shown = track(coded, "reading examples", "tokens", total=tokens, size=lambda batch: len(batch.codes))
    for part in shown:
        codes = part.codes[:, columns.to(part.codes.device)]
        collected.add(part.batch.input_ids, part.batch.attention_mask, part.selected, codes)
    return [collected.strongest(line) for line in range(len(latents))]


def _shown(example: LatentExample, pieces: Sequence[str]) -> Example:
    return Example(
        tokens=[pieces[token] for token in example.token_ids],
        activations=example.activations,
        peak=example.peak,
        document=str(example.document),
    )
