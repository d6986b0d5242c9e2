"""Steering vectors in files: a plain one, which can be read back, and one that lm-evaluation-harness steers with."""

import re
from collections.abc import Callable
from functools import reduce
from io import BytesIO
from operator import add
from pathlib import Path

import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.arguments import Indices, as_indices, as_number
from toolkit.artifacts import explaining_a_full_disk, replace_bytes
from toolkit.interventions.edits import shift
from toolkit.models.model.edits import Change, Edit
from toolkit.models.model.layers import check_layers, layer_in_base_model
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.presets import in_checkout
from toolkit.tensor_files import check_finite, read_tensors

_NAME = re.compile(r"layers\.(\d+)\.input")
_EXPECTED = "steering vectors, called layers.3.input and so on, as save_steering_vector writes them"


def save_steering_vector(
    edit: Change, path: Path | str, model: TracedModel, *, latent: Indices = (), strength: float | None = None
) -> None:
    """Write the vectors that an edit adds as a safetensors file, which `load_steering_vector` reads.

    It holds one tensor [d_model] for each layer, called `layers.3.input` for the stream at the input of layer 3, in the
    stream's own units, and metadata: model, site, units, and the `latent` and `strength` that made the edit, if given.
    Raises `ValueError` for an edit that adds anything but one vector at every position of every row, as `steer` and
    `shift` do, for one of another width or layer than the model's, and `DiskFullError` where there is too little room.
    """
    _write(path, lambda: plain_file(edit, model, latent=latent, strength=strength))


def load_steering_vector(path: Path | str) -> Change:
    """Return the edit that `save_steering_vector` wrote; raises `ValueError` for any other file."""
    vectors = read_tensors(Path(path), _EXPECTED)
    sites = {name: _NAME.fullmatch(name) for name in vectors}
    shapes = {tuple(vector.shape) for vector in vectors.values()}
    if not vectors or not all(sites.values()) or len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        found = ", ".join(f"{name} {list(vector.shape)}" for name, vector in list(vectors.items())[:3])
        raise ValueError(f"{path} holds {found or 'no tensor'}: expected {_EXPECTED}")
    check_finite(path, vectors)
    edits: list[Change] = [shift(int(site[1]), vectors[name]) for name, site in sites.items() if site]
    return reduce(add, edits)


def export_lm_eval(edit: Change, path: Path | str, model: TracedModel) -> None:
    """Write the vectors that an edit adds as lm-evaluation-harness reads them: a dictionary in a `.pt` file.

    Its model `steered` then scores and generates under the edit: `lm_eval --model steered --model_args
    pretrained=…,steer_path=….pt`. It steers every position, the prompt's too, as `generate` does with `edit_prompt`;
    what an edit does at generated positions alone can be the opposite.
    Raises `ValueError` as `save_steering_vector` does, for another suffix, and for an edit at layer 0.
    """
    if Path(path).suffix not in (".pt", ".pth"):
        raise ValueError(f"{path}: lm-evaluation-harness takes vectors from a file whose name ends in .pt or .pth")
    _write(path, lambda: lm_eval_file(edit, model))


def plain_file(edit: Change, model: TracedModel, *, latent: Indices = (), strength: float | None = None) -> bytes:
    """Return what `save_steering_vector` writes."""
    vectors = _vectors(edit, model)
    about = {
        "model": in_checkout(model.source),
        "site": "input of decoder layer " + ", ".join(map(str, sorted(vectors))),
        "units": "vectors are in the stream's own units; strength, their length, is in mean norms of the stream",
    }
    if latents := as_indices(latent, "latent"):
        about["latent"] = ", ".join(map(str, latents))
    if strength is not None:
        about["strength"] = f"{as_number(strength, 'strength'):g}"
    return safetensors.torch.save({f"layers.{layer}.input": each for layer, each in vectors.items()}, about)


def lm_eval_file(edit: Change, model: TracedModel) -> bytes:
    """Return what `export_lm_eval` writes."""
    vectors = _vectors(edit, model)
    if 0 in vectors:
        raise ValueError(
            "the edit is at layer 0, and lm-evaluation-harness edits the outputs of modules: which module puts out what"
            " enters the first layer differs between architectures, so steer at layer 1 or later"
        )
    module = model.model._module
    steered = {
        layer_in_base_model(module, layer - 1): {  # its output is the next layer's input
            "steering_vector": vector,
            "steering_coefficient": 1.0,
            "action": "add",
            "bias": None,
            "head_index": None,
        }
        for layer, vector in vectors.items()
    }
    file = BytesIO()
    torch.save(steered, file)
    return file.getvalue()


def _write(path: Path | str, content: Callable[[], bytes]) -> None:
    place, data = Path(path), content()
    place.parent.mkdir(parents=True, exist_ok=True)
    with explaining_a_full_disk(place.parent, lambda: ": free some space, or write elsewhere"):
        replace_bytes(place, data)


def _vectors(edit: Change, model: TracedModel) -> dict[int, Float[Tensor, " d_model"]]:
    """What is added at each layer, checked against the model."""
    vectors: dict[int, Tensor] = {}
    for part in edit.parts:
        layer, vector = _constant(part)
        check_layers(layer, model.n_layers)
        if len(vector) != model.d_model:
            raise ValueError(
                f"the edit adds vectors of width {len(vector)}, and {in_checkout(model.source)} has width"
                f" {model.d_model}: give the model that it was made for"
            )
        vectors[layer] = vectors[layer] + vector if layer in vectors else vector
    return vectors


def _constant(part: Change) -> tuple[int, Float[Tensor, " d_model"]]:
    """The layer and the one vector that a change adds there; raises `ValueError` for any other change."""
    if not isinstance(part, Edit):
        why = "what it adds depends on the text"
    elif part.positions is not None:
        why = "it changes some positions only"
    elif part.function is not torch.add or len(part.operands) != 1:
        why = "it does more than add a vector"
    elif part.operands[0].shape[:-1] != (1, 1):
        why = "it adds another vector to each row or position"
    else:
        # a clone, for a file of a part of a tensor would hold the whole
        return int(part.layer), part.operands[0][0, 0].detach().cpu().clone()
    raise ValueError(f"{part!r} is no steering vector, for {why}: give one that steer() makes, or shift() of a vector")
