"""Which models a recipe reads; where they run is `toolkit.models.where.Where`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.fields import ShortRepr
from toolkit.models.where import Where

if TYPE_CHECKING:
    from toolkit.models.pair import ModelPair

NOT_DISTILLED = "give --distilled the model after distillation, and --base the one before it"


@dataclass(frozen=True, kw_only=True, repr=False)
class ModelChoice(ShortRepr):
    """Which two models are read."""

    pair: str | None = None
    """A pair of models by name: organism, organism-control, qwen-1.5b, qwen-7b, qwen-14b, deepscaler-1.5b or
    llama-8b. Default: the models that the examined crosscoder was trained on, or organism."""
    base: str | None = None
    """Base model instead of --pair's: a local folder or a hub repository."""
    distilled: str | None = None
    """Distilled model instead of --pair's: a local folder or a hub repository."""

    def are_named(self) -> bool:
        """Whether any is."""
        return bool(self.pair or self.base or self.distilled)

    def open(self, where: Where, layers: Sequence[int] | None = None, *, depth: int | None = None) -> "ModelPair":
        """Load the pair, as deep as `depth` if that is given; raises `ValueError` as `ModelPair.from_pretrained`."""
        # These take seconds to import.
        from toolkit.models.pair import ModelPair
        from toolkit.models.presets import find_pair
        from toolkit.models.sources import find_sources

        chosen = find_pair(self.pair, self.base, self.distilled)
        sources = find_sources({"base": chosen.base, "distilled": chosen.distilled})
        return ModelPair.open(sources, layers=layers or chosen.layers or None, where=where, depth=depth)

    def open_to_site(self, where: Where, layers: Sequence[int] | None = None) -> "ModelPair":
        """Load no more than reading needs: the embeddings and the layers before the last site.

        Meanwhile the files are hashed, so that `ModelPair.fingerprints` need not read them.

        Raises `ValueError` too where the models' files lack what `open_whole` will load, as an LM head, and where both
        models are one.
        """
        # These take seconds to import.
        from toolkit.models.compatibility import check_not_the_same
        from toolkit.models.files.identity import hashing_beside
        from toolkit.models.files.loading import load_config, read_config
        from toolkit.models.files.model_files import MAIN
        from toolkit.models.files.weight_files import check_fit
        from toolkit.models.places.processes import is_first
        from toolkit.models.presets import find_pair
        from toolkit.models.sources import find_sources

        chosen = find_pair(self.pair, self.base, self.distilled)
        base, distilled = find_sources({"base": chosen.base, "distilled": chosen.distilled})
        check_not_the_same(distilled, [base], NOT_DISTILLED, remote=where.remote)
        layers = layers or chosen.layers or (load_config(chosen.base).num_hidden_layers // 2,)
        for source in () if where.remote else chosen.models:
            check_fit(source, read_config(source), MAIN, head=True)
        with hashing_beside([base.name, distilled.name] if is_first() and not where.remote else []):
            return self.open(where, layers, depth=max(layers))

    def open_whole(self, where: Where, read: "ModelPair") -> "ModelPair":
        """Load all of a pair that was opened to its site, in place of it: `read` lets its weights go."""
        if where.remote:
            return read
        return read.reopened(where)


@dataclass(frozen=True, kw_only=True, repr=False)
class ControlledModels(ModelChoice):
    """Which two models are read, beside a control."""

    control: str | None = None
    """A model trained further from base without distillation: a folder or a hub name.
    Default: the control of the embedded pair; for other pairs, none."""


@dataclass(frozen=True, kw_only=True, repr=False)
class StitchedModels(ControlledModels):
    """Which two models are read, beside a control. They may differ in depth, width and vocabulary."""
