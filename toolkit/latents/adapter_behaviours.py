"""How well latents of an adapter find labelled spans, beside random directions of the same MLPs' inputs."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.latent_names import check_latent, numbered_latent
from toolkit.adapters.mlp_reads import read_mlp_inputs
from toolkit.adapters.modes import Latent
from toolkit.dictionaries.transcoders import Transcoder
from toolkit.harvest.activations import ReadBatch
from toolkit.harvest.harvesting import open_mask
from toolkit.harvest.tokens import TokenBatch
from toolkit.latents.behaviours import FLOOR_DRAWS, FoundBehaviour, above_floor
from toolkit.latents.labelled_activations import LabelledActivations, read_labelled
from toolkit.latents.random_dictionary import firings, random_codes
from toolkit.latents.span_labels import LabelledDocuments
from toolkit.leaving_out import TooFewError
from toolkit.statistics.estimates import GIVEN_ONE_ADAPTER
from toolkit.tracking import track

NUMBERS_HELD = 2**28
"""Numbers of MLP inputs that are held at a time: of so many layers together."""
CHUNK = 8192


@torch.no_grad()
def span_aurocs(
    models: AdaptedModel,
    labelled: LabelledDocuments,
    *,
    latents: Sequence[Latent] | None = None,
    row_length: int = 320,
    seed: int = 0,
) -> list[FoundBehaviour]:
    """Return how well the adapter's latents find each label that has tokens in both halves of the documents.

    Of `latents` (layer, index), by default all, the best one and the best few together are chosen on even documents,
    and tested on odd ones, cut to `row_length` tokens. What is found names latents by `latent_number`. The floor is
    the best of as many random directions of each layer's MLP input, firing as often as these latents do; the ceiling is
    a linear probe of the MLP input at the best latent's layer. All is of this one adapter.
    Raises `ValueError` for a latent that does not exist, and where no label has tokens in both halves, `TooFewError`
    where none of the latents fires on the documents that choose.
    """
    about = models.transcoders.config
    wanted = torch.full((about.n_layers, about.n_latents), latents is None)
    for latent in latents or ():
        wanted[check_latent(latent, about)] = True
    inputs = _LabelledInputs(models, labelled, row_length)
    choosing = inputs.tokens.choosing
    own: list[Tensor] = []
    by_chance: list[list[Tensor]] = [[] for _ in range(FLOOR_DRAWS)]
    for layer in track(range(about.n_layers), "finding labels", "layers", total=about.n_layers):
        if not wanted[layer].any():
            own.append(torch.zeros(len(choosing), about.n_latents).to_sparse())
            continue
        x = inputs.of_layer(layer)
        own.append(_codes(models.transcoders[layer], x, wanted[layer]))
        rates = firings(own[-1], choosing)
        for draw, parts in enumerate(by_chance):
            chance = (seed * FLOOR_DRAWS + draw) * about.n_layers + layer
            parts.append(random_codes(x, rates, choosing, chance))
    codes = torch.cat(own, dim=1)
    if not firings(codes, choosing).any():
        raise TooFewError(f"none of {int(wanted.sum()):,} latents fires on the labelled documents: give more of them")
    return above_floor(
        {0: codes},
        inputs.tokens,
        by_chance=lambda draw: torch.cat(by_chance[draw], dim=1),
        probed=lambda unit: inputs.of_layer(numbered_latent(unit, about.n_latents)[0]),
        given=GIVEN_ONE_ADAPTER,
    )


class _LabelledInputs:
    """The inputs of MLPs at labelled tokens; of as many layers at a time as fit into memory."""

    def __init__(self, models: AdaptedModel, labelled: LabelledDocuments, row_length: int) -> None:
        self._models, self._labelled, self._row_length = models, labelled, row_length
        numbers_a_layer = max(1, len(labelled.documents)) * row_length * models.transcoders.config.d_model
        self._together = max(1, NUMBERS_HELD // numbers_a_layer)
        self._held: dict[int, Tensor] = {}
        self.tokens = self._read(0).tokens
        _ = self.tokens.measurable  # before anything takes time

    def of_layer(self, layer: int) -> Float[Tensor, "token d_model"]:
        """The inputs of one layer's MLP, and those of the layers behind it where they are read together."""
        if layer not in self._held:
            self._read(layer)
        return self._held[layer]

    def _read(self, layer: int) -> LabelledActivations:
        layers = range(layer, min(layer + self._together, self._models.n_layers))

        def read_each(batches: Iterable[TokenBatch]) -> Iterator[ReadBatch]:
            return read_mlp_inputs(self._models, batches, open_mask(), layers=layers)

        data = read_labelled(self._models.tokenizer, self._labelled, self._row_length, read_each)
        self._held = dict(zip(layers, data.activations.unbind(dim=1), strict=True))
        return data


def _codes(
    transcoder: Transcoder, x: Float[Tensor, "token d_model"], wanted: Bool[Tensor, " latent"]
) -> Float[Tensor, "token latent"]:
    """Sparse codes of the wanted latents, on the CPU; the others are silent."""
    parts = (transcoder.encode(some.to(transcoder.b_enc)).cpu() * wanted for some in x.split(CHUNK))
    return torch.cat([part.to_sparse() for part in parts])
