"""The sources of models, before they are opened: a folder, the hub, or a model in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from os.path import expanduser
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from toolkit.models.files.identity import file_hashes, fingerprint, fingerprint_of_module
from toolkit.models.files.loading import load_config
from toolkit.models.files.model_files import MAIN, Checkpoint, Hub
from toolkit.models.files.tokenizer_files import load_tokenizers
from toolkit.models.model.layers import layers_path
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.where import Where
from toolkit.tensor_files import check_finite

Model = Any
"""A local folder, a hub name, a `Checkpoint`, or a model that is loaded, by transformers, nnsight or this toolkit."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where one model comes from."""

    role: str
    """Name of the model among those it is read with, such as base."""
    name: str
    """Local folder or hub name; for a model in memory the one that its config records."""
    hub: Hub = MAIN
    """Version on the hub, and access to it."""
    module: PreTrainedModel | None = None
    """The model itself, where it is in memory already."""

    def config(self) -> PreTrainedConfig:
        """Its text config; raises `ValueError` as `load_config` does."""
        return load_config(self.name, self.hub) if self.module is None else self.module.config.get_text_config()

    def fingerprint(self, *, remote: bool) -> str:
        """Return the fingerprint of its weights; see `toolkit.models.files.identity`."""
        if self.module is not None:
            return fingerprint_of_module(self.module)
        return fingerprint(self.name, self.hub, remote=remote)

    def files(self, *, remote: bool) -> dict[str, str]:
        """Return the sha256 of each file that its weights are read from; empty for a model in memory."""
        return {} if self.module is not None else file_hashes(self.name, self.hub, remote=remote)


def find_sources(models: Mapping[str, Model]) -> list[Source]:
    """Return the source of each of the models, given by name.

    Raises `ValueError` for models without names, for a revision of what is not on the hub, and as `as_language_model`.
    """
    if not isinstance(models, Mapping) or not models:
        raise ValueError(f"models {models!r:.60}: give them by name, as {{'base': folder, 'control': folder}}")
    return [_source(role, model) for role, model in models.items()]


def _source(role: str, model: Model) -> Source:
    if isinstance(model, str | Path | Checkpoint):
        address = model if isinstance(model, Checkpoint) else Checkpoint(model)
        name, hub = expanduser(str(address.name)), Hub(**address.options())
        if hub.revision is not None and Path(name).is_dir():
            raise ValueError(
                f"revision {hub.revision!r} is a version on the hub, and {name!r} is not from there: leave it out"
            )
        return Source(role=role, name=name, hub=hub)
    module = as_language_model(model, role)
    return Source(role=role, name=module.name_or_path, module=module)


def tokenizers_of(
    sources: Sequence[Source], tokenizer: PreTrainedTokenizerBase | None
) -> dict[str, PreTrainedTokenizerBase]:
    """Return the tokenizer of each model by name: the given one, or the model's own."""
    names = [source.role for source in sources]
    if tokenizer is not None:
        return dict.fromkeys(names, tokenizer)
    for source in sources:
        if source.module is not None and not source.name:
            raise ValueError(f"{source.role} does not say where it was loaded from: give tokenizer=, used for all")
    found = load_tokenizers([each.name for each in sources], [each.hub for each in sources])
    return dict(zip(names, found, strict=True))


def as_language_model(model: object, role: str) -> PreTrainedModel:
    """Return the transformers model itself, from a model that nnsight or this toolkit may have wrapped.

    Raises `ValueError`, with `role` as the model's name, for anything but a causal language model ready to be read.
    """
    inner = model.model if isinstance(model, TracedModel) else model
    inner = getattr(inner, "_module", inner)  # nnsight's wrapper
    kind = type(inner).__name__
    if hasattr(inner, "peft_config") and hasattr(inner, "merge_and_unload"):
        raise ValueError(f"{role} is a {kind} of PEFT: give {role}=model.merge_and_unload()")
    if not isinstance(inner, PreTrainedModel):
        raise ValueError(f"{role} is a {kind}: give a folder, a hub name, or a model that transformers loaded")
    layers_path(inner)
    if inner.get_output_embeddings() is None:
        raise ValueError(f"{role}, a {kind}, has no LM head: load it with AutoModelForCausalLM")
    if inner.training:
        raise ValueError(f"{role} is in training mode, in which dropout changes what is read: call its eval() before")
    check_finite(f"{role}, a {kind},", dict(inner.named_parameters()))
    return inner


def refuse_unknown(keywords: Mapping[str, Any]) -> None:
    """Raise `TypeError` for unknown keywords; the message says where the keyword belongs."""
    if not keywords:
        return
    name, value = next(iter(keywords.items()))
    places = {each.name for each in fields(Where)}
    if name in ("device", "device_map"):
        remedy = f"give where={str(value)!r}"
    elif name == "remote":
        remedy = 'give where="ndif", or where=Where(remote=True, ...)'
    elif name in places:
        remedy = f"give where=Where({name}={value!r})"
    elif name in ("revision", "token", "trust_remote_code"):
        remedy = f'it belongs to the address of a model: give base=Checkpoint("org/name", {name}=...)'
    elif name == "depth":
        remedy = "give it to open(), which loads a model's first layers only"
    else:
        remedy = "it takes layers, where, tokenizer and clashes beside the models"
    raise TypeError(f"unknown keyword {name!r}: {remedy}")
