"""The settings of recipes that are not composed of parts yet: they are their own parts."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from toolkit.models.where import Where
from toolkit.settings.models import ModelChoice

if TYPE_CHECKING:
    from toolkit.models.pair import ModelPair


@dataclass(frozen=True, kw_only=True)
class ModelAccess(Where):
    """Where models run, and how."""

    @property
    def where(self) -> Where:
        """Where they run."""
        return Where(**self.access())

    def access(self) -> dict[str, Any]:
        """Where the models run, without which they are: for another config that reads models alike."""
        return {each.name: getattr(self, each.name) for each in fields(Where)}


@dataclass(frozen=True, kw_only=True)
class ModelsChoice(ModelAccess, ModelChoice):
    """Which two models, and where they run."""

    @property
    def models(self) -> ModelChoice:
        """Which models."""
        return self

    def open_pair(self, layers: Sequence[int] | None = None, *, depth: int | None = None) -> "ModelPair":
        """Load the pair, as deep as `depth` if that is given; raises `ValueError` as `ModelPair.from_pretrained`."""
        return self.open(self.where, layers, depth=depth)

    def open_to_site(self, layers: Sequence[int] | None = None) -> "ModelPair":
        """Load no more than reading needs: the embeddings and the layers before the last site.

        Raises `ValueError` too where the models' files lack what `open_whole` will load, as an LM head.
        """
        from toolkit.models.files.loading import load_config, read_config
        from toolkit.models.files.model_files import MAIN
        from toolkit.models.files.weight_files import check_fit
        from toolkit.models.presets import find_pair

        sources = find_pair(self.pair, self.base, self.distilled)
        layers = layers or sources.layers or (load_config(sources.base).num_hidden_layers // 2,)
        for source in () if self.remote else (sources.base, sources.distilled):
            check_fit(source, read_config(source), MAIN, head=True)
        return self.open_pair(layers, depth=max(layers))

    def open_whole(self, read: "ModelPair") -> "ModelPair":
        """Load all of a pair that was opened to its site, in place of it: `read` lets its weights go."""
        if self.remote:
            return read
        read.let_go()
        return self.open_pair(read.layers)
