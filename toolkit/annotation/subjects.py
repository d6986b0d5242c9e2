"""The latents that are to be annotated, and what of them is known before any text is read."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.latent_names import check_latent, latent_name, latent_number
from toolkit.adapters.modes import Latent
from toolkit.annotation.evidence import Name
from toolkit.arguments import Indices
from toolkit.dictionaries.crosscoder import Crosscoder, check_latents
from toolkit.dictionaries.transcoders import Adapter
from toolkit.latents.logit_lens import adapter_lens, logit_lens
from toolkit.models.model_set import ModelSet

NEIGHBOURS = 5
Tokens = tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Subjects:
    """Latents, one a line; they are columns of the codes that are read."""

    names: tuple[Name, ...]
    columns: Int[Tensor, " latent"]
    neighbours: Int[Tensor, "latent neighbour"]
    """Columns of the latents whose decoder rows are most like the latent's own, the closest first."""
    likeness: Float[Tensor, "latent neighbour"]
    """Cosines of their decoder rows with its own."""
    promoted: tuple[Tokens, ...]
    """Tokens whose logits the decoder row raises most, with these logits."""
    suppressed: tuple[Tokens, ...]


def crosscoder_subjects(models: ModelSet, crosscoder: Crosscoder, latents: Indices) -> Subjects:
    """Return latents of a crosscoder; columns are those of its codes.

    Likeness is that of a latent's rows for all streams together, in raw units. What it promotes is read from its row in
    the model in which this row is longest. Raises `ValueError` for a latent that does not exist.
    """
    numbers = list(dict.fromkeys(check_latents(latents, crosscoder.config.n_latents)))
    neighbours, likeness = _closest(crosscoder.W_dec.detach().flatten(1), numbers)
    lens = logit_lens(models, crosscoder, numbers)
    norms = crosscoder.decoder_norms()[numbers].unflatten(1, (len(models.names), -1))  # [latent, model, layer]
    own = [models.names[index] for index in norms[:, :, -1].argmax(dim=1).tolist()]
    promoted, suppressed = (
        tuple(tuple(lens[model].tokens(latent, promoted=up)) for model, latent in zip(own, numbers, strict=True))
        for up in (True, False)
    )
    return Subjects(
        names=tuple(numbers),
        columns=torch.tensor(numbers),
        neighbours=neighbours,
        likeness=likeness,
        promoted=promoted,
        suppressed=suppressed,
    )


def adapter_subjects(models: AdaptedModel, layers: Sequence[int], latents: Sequence[Latent]) -> Subjects:
    """Return latents (layer, index) of an adapter; columns are those of the codes of `layers`, layer after layer.

    Neighbours are latents of the same layer. Raises `ValueError` for a latent that does not exist or is of
    a layer that is not read, and where none is named.
    """
    if not latents:
        raise ValueError("no latent is named: give at least one, as (layer, index)")
    latents = [check_latent(latent, models.transcoders.config) for latent in dict.fromkeys(latents)]
    if outside := [latent_name(latent) for latent in latents if latent[0] not in layers]:
        raise ValueError(f"latent {outside[0]} is of a layer that is not read: add its layer to {list(layers)}")
    n_latents = models.transcoders.config.n_latents
    starts = [list(layers).index(layer) * n_latents for layer, _ in latents]
    neighbours, likeness = _closest_in_layers(models.transcoders, latents)
    lens = adapter_lens(models, latents)
    numbers = [latent_number(latent, n_latents) for latent in latents]
    return Subjects(
        names=tuple(map(latent_name, latents)),
        columns=torch.tensor([start + index for start, (_, index) in zip(starts, latents, strict=True)]),
        neighbours=torch.tensor(starts)[:, None] + neighbours,
        likeness=likeness,
        promoted=tuple(tuple(lens.tokens(number)) for number in numbers),
        suppressed=tuple(tuple(lens.tokens(number, promoted=False)) for number in numbers),
    )


def _closest_in_layers(
    adapter: Adapter, latents: Sequence[Latent]
) -> tuple[Int[Tensor, "chosen neighbour"], Float[Tensor, "chosen neighbour"]]:
    """As `_closest`, each latent among those of its own layer."""
    found: dict[Latent, tuple[Tensor, Tensor]] = {}
    for layer in dict.fromkeys(layer for layer, _ in latents):
        indices = [index for of_layer, index in latents if of_layer == layer]
        closest = zip(*_closest(adapter[layer].W_dec.detach(), indices), strict=True)
        found |= zip([(layer, index) for index in indices], closest, strict=True)
    neighbours, likeness = zip(*(found[latent] for latent in latents), strict=True)
    return torch.stack(neighbours), torch.stack(likeness)


def _closest(
    rows: Float[Tensor, "latent width"], chosen: Sequence[int]
) -> tuple[Int[Tensor, "chosen neighbour"], Float[Tensor, "chosen neighbour"]]:
    """The latents whose rows are most like those of the chosen ones, and their cosines; on the CPU."""
    unit = torch.nn.functional.normalize(rows.float(), dim=1)
    cosines = unit[list(chosen)] @ unit.t()
    cosines[range(len(chosen)), list(chosen)] = -torch.inf
    best = cosines.topk(min(NEIGHBOURS, len(rows) - 1), dim=1)
    return best.indices.cpu(), best.values.cpu()
