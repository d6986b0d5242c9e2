"""Explanations as records of Neuronpedia, one JSON object a line."""

import json
from collections.abc import Iterator, Mapping

from toolkit.annotation.labels import Label

TYPE_NAME = "distillation-crosscoders"
"""What the records call the method by which explanations were made."""


def neuronpedia_lines(
    labels: Mapping[tuple[int, int], Label], *, model: str, dictionary: str, annotator: str
) -> Iterator[str]:
    """Yield the record of each latent, given by layer and index; `dictionary` names the set of latents of a layer."""
    for (layer, index), label in labels.items():
        record = {
            "modelId": model,
            "layer": f"{layer}-{dictionary}",
            "index": str(index),
            "description": label.explanation,
            "typeName": TYPE_NAME,
            "explanationModelName": annotator,
        }
        yield json.dumps(record) + "\n"  # escaped: readers may break lines at U+2028, which a name may hold
