"""Files of labels: what an annotator said of the latents of one dictionary, and of no other."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit.annotation.labels import CATEGORIES, Label
from toolkit.artifacts import read_json_object, write_json


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """The labels that one annotator gave."""

    annotator: str
    labels: Mapping[str, Label]
    """By what a latent is called: its index, or for an adapter `layer/index`."""


def write_labels(path: Path, dictionary: str, given: LabelFile) -> None:
    """Write labels of latents of a dictionary, whose weights have the sha256 `dictionary`."""
    labels = {name: asdict(label) for name, label in given.labels.items()}
    write_json(path, {"dictionary": dictionary, "annotator": given.annotator, "labels": labels})


def read_labels(path: Path, dictionary: str) -> LabelFile:
    """Read labels that someone gave to latents of this dictionary.

    Raises `ValueError` for a file that holds no labels, or labels of another dictionary's latents, and for a category
    that is none.
    """
    try:
        content = read_json_object(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}): give a labels.json of annotate_latents.py") from error
    given = content.get("labels")
    if not isinstance(given, dict) or not {"dictionary", "annotator"} <= content.keys():
        raise ValueError(f"{path} holds no labels: give a labels.json of annotate_latents.py")
    if content["dictionary"] != dictionary:
        raise ValueError(
            f"{path} has labels of latents of another dictionary, whose weights have sha256"
            f" {str(content['dictionary'])[:12]}…, not {dictionary[:12]}…: give labels of this one's latents"
        )
    labels = {name: _label(each, f"{path}, latent {name}") for name, each in given.items()}
    return LabelFile(annotator=str(content["annotator"]), labels=labels)


def _label(given: Any, where: str) -> Label:
    match given:
        case {"category": str(category), "explanation": str(explanation)} if category in CATEGORIES:
            return Label(category=category, explanation=explanation)
    raise ValueError(f"{where} holds {given!r:.80}: give a category of {', '.join(CATEGORIES)}, and an explanation")
