"""Named models that are open together, whatever their shapes, and where each came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.here import loading_options
from toolkit.models.places.one_at_a_time import Room
from toolkit.models.places.open_model import open_model
from toolkit.models.presets import in_checkout
from toolkit.models.sources import Source
from toolkit.models.where import Where


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class OpenedModels:
    """Models by name."""

    models: dict[str, TracedModel]
    """The models by name, in order."""
    found: tuple[Source, ...]
    """Where each model came from."""

    def fingerprints(self) -> dict[str, str]:
        """A word for each model, by name, that changes with its weights and settings alone; see `files.identity`.

        For models on NDIF, whose files are not here, it is the commit, or the sha256 of a local folder's config.
        """
        return {each.role: each.fingerprint(remote=not self.models[each.role].place.has_files) for each in self.found}

    def files(self) -> dict[str, str]:
        """Sha256 of every file that weights were read from, the commit of a model from the hub."""
        each = [source.files(remote=not self.models[source.role].place.has_files) for source in self.found]
        return {file: word for files in each for file, word in files.items()}

    @property
    def sources(self) -> tuple[str, ...]:
        """Where each model came from: a local folder or a hub name."""
        return tuple(source.name for source in self.found)

    @property
    def origins(self) -> tuple[str, ...]:
        """The sources as artifacts record them."""
        return tuple(map(in_checkout, self.sources))

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names, in order."""
        return tuple(self.models)

    @property
    def context(self) -> int:
        """Tokens that all models can tell apart by their position."""
        return min(model.context for model in self.models.values())


def check_places(sources: Sequence[Source], where: Where) -> None:
    """Raise `ValueError` for a device that is not there, and for settings that these models do not use."""
    where.check_used(models=len(sources), in_memory=sum(source.module is not None for source in sources))
    for source in sources:
        loading_options(where.of(source.role))  # says what is not there


def open_each(
    sources: Sequence[Source],
    tokenizers: Mapping[str, PreTrainedTokenizerBase],
    where: Where,
    *,
    depth: int | None = None,
) -> dict[str, TracedModel]:
    """Load the models that `find_sources` found, each with its tokenizer; with `depth` only what lies before that site.

    Raises `ValueError` as `open_model` does.
    """
    room = Room() if where.sequential else None
    opened = {  # the first model last: where one stays in memory, it is the first to be read
        source.role: open_model(
            source.module or source.name,
            tokenizers[source.role],
            where.of(source.role),
            hub=source.hub,
            depth=depth,
            room=room,
        )
        for source in reversed(sources)
    }
    return {source.role: opened[source.role] for source in sources}
