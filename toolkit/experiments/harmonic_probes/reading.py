"""Reads the inputs of all layers once, at labelled places alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.experiments.harmonic_probes.labels import LabelledPlaces


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenStreams:
    """What was read at one label's places, in the models' own type and raw units, on the CPU."""

    places: LabelledPlaces
    layers: tuple[int, ...]
    streams: Mapping[str, Float[Tensor, "token layer d_model"]]
    """By model."""
    tests: Bool[Tensor, " token"]
    """Tokens of the documents that test."""
    fits: tuple[Bool[Tensor, " token"], ...]
    """Of each draw the tokens of the documents that fit; no two draws share a document."""

    def at(self, model: str, layer: int) -> Float[Tensor, "token d_model"]:
        """The input of a layer of a model, in single precision."""
        return self.streams[model][:, self.layers.index(layer)].float()
