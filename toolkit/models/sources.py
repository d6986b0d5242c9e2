"""The two models of a pair before they are opened: in which folder, on the hub, or in memory already."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from toolkit.models.files.identity import file_hashes, fingerprint, fingerprint_of_module
from toolkit.models.files.loaded import as_language_model
from toolkit.models.files.loading import load_config
from toolkit.models.files.model_files import Hub
from toolkit.models.files.tokenizer_files import load_tokenizers
from toolkit.models.presets import find_pair

ROLES = ("base", "distilled")

Model = Any
"""A local folder, a hub name, or a model that is loaded, by transformers, nnsight or this toolkit."""

Revision = str | Sequence[str | None] | None
"""A version of both models on the hub, or of base and distilled in turn."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where one model comes from."""

    role: str
    """What it is in its pair: base or distilled."""
    name: str
    """Local folder or hub name; of a model in memory what it says it was loaded from."""
    hub: Hub
    """Which version on the hub it is."""
    module: PreTrainedModel | None = None
    """The model itself, where it is in memory already."""

    def config(self) -> PreTrainedConfig:
        """Its text config; raises `ValueError` as `load_config` does."""
        return load_config(self.name, self.hub) if self.module is None else self.module.config.get_text_config()

    def fingerprint(self, *, remote: bool) -> str:
        """What tells its weights apart from others, as `toolkit.models.files.identity` says."""
        if self.module is not None:
            return fingerprint_of_module(self.module)
        return fingerprint(self.name, self.hub, remote=remote)

    def files(self, *, remote: bool) -> dict[str, str]:
        """Sha256 of each file that its weights are read from; of a model in memory there is none."""
        return {} if self.module is not None else file_hashes(self.name, self.hub, remote=remote)


def find_sources(
    preset: str | None, base: Model, distilled: Model, hubs: Sequence[Hub]
) -> tuple[tuple[Source, Source], tuple[int, ...]]:
    """The models of a preset, or these two, by folder, by hub name or as they are in memory; and the preset's sites.

    Raises `ValueError` as `find_pair` and `as_language_model` do, and for a revision of what is not on the hub.
    """
    modules: list[PreTrainedModel | None] = []
    names: list[str | None] = []
    for role, model in zip(ROLES, (base, distilled), strict=True):
        module = None if model is None or isinstance(model, str | Path) else as_language_model(model, role)
        modules.append(module)
        names.append(module.name_or_path if module else None if model is None else str(model))
    chosen = find_pair(preset, *names)
    found = [
        Source(role=role, name=name, hub=hub, module=module)
        for role, name, hub, module in zip(ROLES, (chosen.base, chosen.distilled), hubs, modules, strict=True)
    ]
    for source in found:
        if source.hub.revision is not None and (source.module is not None or Path(source.name).is_dir()):
            raise ValueError(
                f"revision {source.hub.revision!r} is a version on the hub, and {source.name!r} is not from there:"
                " leave it out, or give one for each model, as (None, 'main')"
            )
    return (found[0], found[1]), chosen.layers


def hubs_of(revision: Revision, token: str | bool | None, trust_remote_code: bool) -> list[Hub]:
    """How the files of base and distilled are had; raises `ValueError` for other than one revision or two."""
    revisions = [revision, revision] if revision is None or isinstance(revision, str) else [*revision]
    if len(revisions) != 2:
        raise ValueError(f"revision {revision!r}: give one for both models, or a pair of them, base first")
    return [Hub(revision=each, token=token, trust_remote_code=trust_remote_code) for each in revisions]


def tokenizers_of(
    sources: Sequence[Source], tokenizer: PreTrainedTokenizerBase | None
) -> tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase]:
    """The tokenizers of base and distilled: the one that is given, or their own."""
    if tokenizer is not None:
        return tokenizer, tokenizer
    for source in sources:
        if source.module is not None and not source.name:
            raise ValueError(f"{source.role} does not say where it was loaded from: give tokenizer=, used for both")
    base, distilled = load_tokenizers([each.name for each in sources], [each.hub for each in sources])
    return base, distilled
