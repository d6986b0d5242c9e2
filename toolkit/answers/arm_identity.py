"""Tells arms apart by what they compute: a digest of an edit's vectors, latents and strengths."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.artifacts import digest
from toolkit.models.model.edits import Change
from toolkit.models.model_set import ModelSet


def edit_digest(edit: Change | None) -> str | None:
    """Return a word that changes with whatever an edit does; None where there is none.

    It holds the edit's tensors, byte by byte, its numbers, the weights of a dictionary, the fingerprints of models that
    it reads, and the names of its functions. Raises `ValueError` for an edit with anything else in it.
    """
    return None if edit is None else digest(_content(edit))


def _content(value: Any) -> Any:
    """Return something that JSON can hold, and that is equal for equal values alone."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            plain = value.detach().cpu().contiguous()
            of_bytes = hashlib.sha256(plain.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
            return [str(plain.dtype), list(plain.shape), of_bytes]
        case nn.Module():
            return [type(value).__qualname__, _content(value.state_dict())]
        case ModelSet():
            return value.fingerprints()
        case Change():
            return [type(value).__qualname__, _content(_settings(value))]
        case Mapping():
            return {str(name): _content(each) for name, each in value.items()}
        case Sequence() | frozenset():
            return [_content(each) for each in (sorted(value) if isinstance(value, frozenset) else value)]
        case functools.partial():
            return [_content(value.func), _content(value.args), _content(value.keywords)]
    if name := getattr(value, "__qualname__", None):
        return f"{getattr(value, '__module__', '')}.{name}"
    raise ValueError(
        f"an edit holds a {type(value).__name__}, by which its answers cannot be told from those of others"
    )


def _settings(change: Change) -> dict[str, Any]:
    """Return what an edit was made with; names that begin with _ are what it keeps while a model writes."""
    return {name: value for name, value in vars(change).items() if not name.startswith("_")}
