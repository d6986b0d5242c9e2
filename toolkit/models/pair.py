"""A base model and the model distilled from it: the set of two that most experiments read."""

from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from toolkit.arguments import Indices
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model_set import ModelSet
from toolkit.models.presets import find_pair
from toolkit.models.sources import Model, find_sources, refuse_unknown
from toolkit.models.where import Where


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ModelPair(ModelSet):
    """Two models of one shape that read the same ids: base and distilled."""

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        preset: str | None = None,
        *,
        base: Model = None,
        distilled: Model = None,
        layers: Indices | None = None,
        where: Where | Any = "auto",
        tokenizer: PreTrainedTokenizerBase | None = None,
        clashes: Literal["refuse", "allow"] = "refuse",
        **unknown: Any,
    ) -> "ModelPair":
        """Load a pair by the name of a preset, or its two models as `ModelSet.from_pretrained` does.

        `layers` defaults to the preset's, else to the middle of the model. Raises `ValueError` for an unknown preset,
        and as `ModelSet.from_pretrained` does.
        """
        refuse_unknown(unknown)
        models, usual = {"base": base, "distilled": distilled}, None
        if preset is not None or base is None or distilled is None:
            chosen = find_pair(preset, base, distilled)
            models, usual = {"base": chosen.base, "distilled": chosen.distilled}, chosen.layers
        sites = usual if layers is None else layers
        return cls.open(find_sources(models), layers=sites, where=where, tokenizer=tokenizer, clashes=clashes)

    @property
    def base(self) -> TracedModel:
        """The model before distillation."""
        return self.models["base"]

    @property
    def distilled(self) -> TracedModel:
        """The model after distillation."""
        return self.models["distilled"]
