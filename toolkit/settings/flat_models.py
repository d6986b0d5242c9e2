"""The settings of recipes that are not composed of parts yet: they are their own parts."""

from dataclasses import dataclass, fields
from typing import Any

from toolkit.models.where import Where
from toolkit.settings.models import ModelChoice


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
