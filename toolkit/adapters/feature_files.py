"""Feature files: for each latent its examples as text, and the tokens that it promotes, as circuit-tracer shows them.

Published adapters have them packed: `features/layer_N.bin` holds a layer's latents one after the other, each as the
length of its content in four bytes (unsigned, little-endian) and the content, JSON under gzip; `features/index.json.gz`
says where each begins. A latent that never fired takes no bytes. Circuit-tracer's page also reads a JSON file for each.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from toolkit.artifacts import explaining_a_full_disk, replace_text
from toolkit.models.files.model_files import Checkpoint, Hub, find_file

FOLDER, INDEX = "features", "index.json.gz"
VERSION, FORMAT = "1.0", "variable_chunks"
_LENGTH = 4  # bytes before each content
_PARTS = ("filename", "offsets")


@dataclass(frozen=True, kw_only=True)
class FeatureExample:
    """A stretch of text in which a latent fires."""

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    """The latent's code at each token."""
    peak: int
    """Index of the token that was chosen for its code."""
    repeated: bool = False
    """Whether the text stands among the examples already."""


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One latent that fires, as feature files describe it."""

    layer: int
    latent: int
    """Index in its layer."""
    top_logits: tuple[str, ...]
    """Tokens that it promotes, the strongest first."""
    bottom_logits: tuple[str, ...]
    """Tokens that it suppresses, the strongest first."""
    examples: Mapping[str, tuple[FeatureExample, ...]]
    """By the name of a range of its codes, in the order in which they are shown."""
    activation_frequency: float
    """Share of tokens on which it fires."""

    def content(self) -> dict[str, Any]:
        """What its file holds."""
        shown = [code for each in self.examples.values() for example in each for code in example.activations]
        return {
            "layer": self.layer,
            "feature": self.latent,
            "index": self.latent,
            "top_logits": list(self.top_logits),
            "bottom_logits": list(self.bottom_logits),
            "act_min": min(shown, default=0.0),
            "act_max": max(shown, default=0.0),
            "activation_frequency": self.activation_frequency,
            "examples_quantiles": [
                {"quantile_name": name, "examples": [_example(each) for each in examples]}
                for name, examples in self.examples.items()
            ],
        }

    @classmethod
    def of(cls, content: Mapping[str, Any], layer: int, latent: int) -> "Feature":
        """The latent that a file's content describes; raises `ValueError` where it describes none."""
        try:
            return cls(
                layer=layer,
                latent=latent,
                top_logits=tuple(content["top_logits"]),
                bottom_logits=tuple(content["bottom_logits"]),
                examples={
                    each["quantile_name"]: tuple(_read_example(example) for example in each["examples"])
                    for each in content["examples_quantiles"]
                },
                activation_frequency=float(content["activation_frequency"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the file of latent {latent} of layer {layer} describes none: {type(error).__name__} {error}. Copy or"
                " download it again"
            ) from error


@dataclass(frozen=True, kw_only=True)
class FeatureFiles:
    """The packed features of an adapter, in a folder or on the hub; a layer's file is found when first asked for."""

    source: str
    hub: Hub
    offsets: Mapping[int, Sequence[int]]
    """Of each layer where in its file each latent begins, and where the last one ends, in bytes."""
    filenames: Mapping[int, str]

    @classmethod
    def open(cls, source: str | Path | Checkpoint) -> "FeatureFiles":
        """Read the index beside a published checkpoint.

        Raises `FileNotFoundError` where there is none, and `ValueError` for one that cannot be read.
        """
        address = source if isinstance(source, Checkpoint) else Checkpoint(source)
        name, hub = str(address.name), Hub(**address.options())
        path = find_file(name, f"{FOLDER}/{INDEX}", hub)
        if path is None:
            raise FileNotFoundError(f"{name} has no {FOLDER}/{INDEX}: feature files are read from where that lies")
        index = _read_index(path)
        layers = {int(key): value for key, value in index.items() if key.isdigit()}
        filenames, offsets = ({layer: value[part] for layer, value in layers.items()} for part in _PARTS)
        return cls(source=name, hub=hub, offsets=offsets, filenames=filenames)

    def n_latents(self, layer: int) -> int:
        """Latents of a layer; raises `ValueError` for a layer without a file."""
        if layer not in self.offsets:
            raise ValueError(f"layer {layer} has no feature file: there are those of layers {sorted(self.offsets)}")
        return len(self.offsets[layer]) - 1

    def read(self, layer: int, latent: int) -> Feature | None:
        """Read what is known of a latent; None where it never fired.

        Raises `ValueError` for a latent that does not exist, and for a file that cannot be read.
        """
        if not 0 <= latent < self.n_latents(layer):
            raise ValueError(f"latent {latent} of layer {layer}: choose from 0 to {self.n_latents(layer) - 1}")
        start, end = self.offsets[layer][latent : latent + 2]
        if start == end:
            return None
        path = find_file(self.source, f"{FOLDER}/{self.filenames[layer]}", self.hub)
        if path is None:
            raise ValueError(f"{self.filenames[layer]}, which {INDEX} names, is missing: copy or download it again")
        with path.open("rb") as file:
            file.seek(start)
            chunk = file.read(end - start)
        return Feature.of(_unpacked(path, chunk), layer, latent)


def write_packed(features: Iterable[Feature], folder: Path, *, n_layers: int, n_latents: int) -> None:
    """Write `features/layer_N.bin` and their index into a folder; latents that are not given count as dead.

    They come in the order of layers, and in a layer in that of latents. Raises `DiskFullError` where there is too
    little room, and `ValueError` for another order.
    """
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    offsets: dict[int, list[int]] = {}
    with explaining_a_full_disk(place, lambda: ": free some space, or write elsewhere"):
        for layer, group in groupby(features, key=lambda feature: feature.layer):
            if not max(offsets, default=-1) < layer < n_layers:
                raise ValueError(f"layer {layer} comes out of order, or is not one of {n_layers}")
            with (place / _filename(layer)).open("wb") as file:
                offsets[layer] = _write_layer(file, group, n_latents)
        for layer in set(range(n_layers)) - offsets.keys():
            (place / _filename(layer)).write_bytes(b"")
            offsets[layer] = [0] * (n_latents + 1)
        entries = {str(layer): {"filename": _filename(layer), "offsets": offsets[layer]} for layer in sorted(offsets)}
        (place / INDEX).write_bytes(_packed({"version": VERSION, "format": FORMAT, **entries}))


def write_pages(features: Iterable[Feature], folder: Path) -> None:
    """Write each latent's file as circuit-tracer's page asks for it: `{number}.json`, with `cantor_number`.

    The page of a graph finds them where the graph's `scan` is "./data/" and this folder, seen from its data folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with explaining_a_full_disk(folder, lambda: ": free some space, or write elsewhere"):
        for feature in features:
            path = folder / f"{cantor_number(feature.layer, feature.latent)}.json"
            replace_text(path, json.dumps(feature.content(), ensure_ascii=False))


def cantor_number(layer: int, latent: int) -> int:
    """One number for a layer and an index in it, by Cantor's pairing: the name of a latent in circuit-tracer."""
    return (layer + latent) * (layer + latent + 1) // 2 + latent


def _write_layer(file: BinaryIO, features: Iterable[Feature], n_latents: int) -> list[int]:
    """Write one layer's latents, and return where each begins, and where the last one ends."""
    offsets = [0]
    for feature in features:
        if not len(offsets) - 1 <= feature.latent < n_latents:
            raise ValueError(f"latent {feature.latent} comes out of order, or is not one of {n_latents}")
        offsets += [offsets[-1]] * (feature.latent + 1 - len(offsets))
        content = _packed(feature.content())
        file.write(len(content).to_bytes(_LENGTH, "little") + content)
        offsets.append(offsets[-1] + _LENGTH + len(content))
    return offsets + [offsets[-1]] * (n_latents + 1 - len(offsets))


def _filename(layer: int) -> str:
    return f"layer_{layer}.bin"


def _packed(content: Mapping[str, Any]) -> bytes:
    return gzip.compress(json.dumps(content, ensure_ascii=False).encode(), mtime=0)  # the same bytes at any time


def _unpacked(path: Path, chunk: bytes) -> Any:
    length = int.from_bytes(chunk[:_LENGTH], "little")
    if length > len(chunk) - _LENGTH:
        raise ValueError(f"{path} is damaged (it ends too early): copy or download it again")
    return _unzipped(path, chunk[_LENGTH : _LENGTH + length])


def _unzipped(path: Path, content: bytes) -> Any:
    try:
        return json.loads(gzip.decompress(content))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}): copy or download it again") from error


def _read_index(path: Path) -> dict[str, Any]:
    index = _unzipped(path, path.read_bytes())
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        found = index.get("format") if isinstance(index, dict) else type(index).__name__
        raise ValueError(f"{path} has the format {found!r}, and {FORMAT!r} alone is known")
    for key, value in index.items():
        if key.isdigit() and not (isinstance(value, dict) and set(_PARTS) <= value.keys() and _in_order(value)):
            raise ValueError(f"{path} does not say where layer {key} has its latents: copy or download it again")
    return index


def _in_order(entry: Mapping[str, Any]) -> bool:
    """Whether a layer's file is one beside the index, and its offsets rise."""
    name, offsets = str(entry["filename"]), list(entry["offsets"])
    return Path(name).name == name and len(offsets) > 1 and offsets == sorted(offsets)


def _example(example: FeatureExample) -> dict[str, Any]:
    return {
        "tokens_acts_list": list(example.activations),
        "train_token_ind": example.peak,
        "is_repeated_datapoint": example.repeated,
        "tokens": list(example.tokens),
    }


def _read_example(content: Mapping[str, Any]) -> FeatureExample:
    return FeatureExample(
        tokens=tuple(content["tokens"]),
        activations=tuple(map(float, content["tokens_acts_list"])),
        peak=int(content["train_token_ind"]),
        repeated=bool(content.get("is_repeated_datapoint", False)),
    )
