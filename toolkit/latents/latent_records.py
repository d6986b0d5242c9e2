"""All that is known of a latent of an adapter, for a page to show and for files of other formats."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.latent_names import numbered_latent
from toolkit.adapters.modes import Latent
from toolkit.latents.examples import LatentExample, TopExamples
from toolkit.latents.logit_lens import adapter_lens

TOGETHER = 512
"""Latents whose promoted tokens are computed at a time."""


@dataclass(frozen=True, kw_only=True)
class LatentRecord:
    """A latent of an adapter: how often it fires, on what, and what it promotes.

    Scores and activations are codes times the norm of the latent's decoder row, f‖W_dec‖.
    """

    latent: Latent
    """Layer and index."""
    number: int
    """Its place in a line of all layers' latents."""
    frequency: float
    """Share of tokens on which it fires."""
    strongest: Sequence[LatentExample]
    """Its strongest firings, the strongest first; none for a latent that never fired."""
    quarters: Sequence[tuple[str, Sequence[LatentExample]]]
    """A sample of all its firings in quarters, each with its name, the weakest quarter first."""
    promoted: Sequence[tuple[str, float]]
    """The tokens whose logits its decoder row raises most, with these logits."""
    suppressed: Sequence[tuple[str, float]]
    """The tokens whose logits it lowers most."""
    pieces: Sequence[str]
    """The text of every token of the vocabulary, by id."""

    def tokens(self, example: LatentExample) -> list[str]:
        """The tokens of an example as text; `example.peak` is the index of the one that fires."""
        return [self.pieces[token] for token in example.token_ids]


def adapter_records(
    models: AdaptedModel,
    layers: Sequence[int],
    latents: Sequence[Latent],
    *,
    examples: TopExamples,
    frequency: Float[Tensor, " latent"],
    pieces: Sequence[str],
    lens_tokens: int = 10,
) -> Iterator[LatentRecord]:
    """Yield the record of each of `latents`, all of them of `layers`.

    `examples` are those of all latents of these layers, layer after layer; `frequency` has all layers' latents, and
    `pieces` the text of every token of the vocabulary.
    """
    n_latents = models.transcoders.config.n_latents
    for first in range(0, len(latents), TOGETHER):
        lens = adapter_lens(models, latents[first : first + TOGETHER], tokens=min(lens_tokens, len(pieces)))
        for number in lens.latents:
            layer, index = numbered_latent(number, n_latents)
            line = layers.index(layer) * n_latents + index
            yield LatentRecord(
                latent=(layer, index),
                number=number,
                frequency=float(frequency[number]),
                strongest=examples.strongest(line),
                quarters=examples.quarters(line),
                promoted=lens.tokens(number, promoted=True),
                suppressed=lens.tokens(number, promoted=False),
                pieces=pieces,
            )
