"""An adapter that is opened to be examined: its transcoders, its models and its text."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.layerwise import check_layerwise
from toolkit.adapters.opening import adapter_files, open_adapter
from toolkit.artifacts import read_section
from toolkit.dictionaries.transcoders import Adapter
from toolkit.fields import changed
from toolkit.harvest.choices import EMBEDDED_THINKING
from toolkit.harvest.documents import Corpus
from toolkit.harvest.tokens import TokenStream
from toolkit.models.model.layers import attention_window
from toolkit.models.presets import CHECKOUT, find_pair, in_checkout
from toolkit.models.sources import find_sources
from toolkit.models.where import Where, as_where
from toolkit.settings.adapter_run import AdapterRunConfig
from toolkit.settings.adapters import SHIPPED_ADAPTER, AdapterChoice
from toolkit.settings.crosscoder_run import TextSettings
from toolkit.settings.findings import TextChoice
from toolkit.settings.models import ModelChoice
from toolkit.training.adapter_training import open_documents


@dataclass(frozen=True, kw_only=True, eq=False)
class AdapterRun:
    """A trained adapter with its models and its text; both are opened when they are first asked for."""

    adapter: Adapter
    choice: AdapterChoice
    models_choice: ModelChoice
    """The models, if they are not those that the adapter was trained on."""
    where: Where
    text: TextSettings
    """Which text is read, and how it is cut."""
    seed: int = 0
    """Seed of the text's order."""

    @classmethod
    def open(
        cls,
        source: str | Path = SHIPPED_ADAPTER,
        *,
        models: ModelChoice = ModelChoice(),  # noqa: B008 - frozen
        where: Where | Any = "auto",
    ) -> "AdapterRun":
        """Open a folder with an adapter, or a published checkpoint, which does not name its models; default: the
        shipped adapter. Raises as `open_adapter`.
        """
        return cls.of(AdapterChoice(run=Path(source)), TextChoice(), models, as_where(where))

    @classmethod
    def of(cls, choice: AdapterChoice, text: TextChoice, models: ModelChoice, where: Where) -> "AdapterRun":
        """Open what an experiment's settings name, as `open` does."""
        own = _trained_on(choice.run)
        read = changed(own, data=text.data, text_field=text.text_field) if text.data is not None else own
        return cls(adapter=open_adapter(choice.run), choice=choice, models_choice=models, where=where, text=read)

    def __repr__(self) -> str:
        return f"AdapterRun({str(self.choice.run)!r}: {self.adapter!r})"

    @cached_property
    def models(self) -> AdaptedModel:
        """The adapted model, loaded when first asked for; raises `ValueError` where the models do not fit it."""
        base, distilled = self._sources()
        sources = find_sources({"base": base, "distilled": distilled})
        opened = AdaptedModel.open(sources, self.adapter, self.where, other_models=self.choice.other_models)
        check_layerwise(opened)
        return opened

    @cached_property
    def corpus(self) -> Corpus:
        """The text; opened when first asked for."""
        return open_documents(self.text.data, self.text.text_field, self.models.tokenizer, self.seed)

    def adapter_files(self) -> dict[str, str]:
        """Sha256 of each file that the adapter's weights were read from."""
        return adapter_files(self.choice.run)

    def load(self) -> "AdapterRun":
        """Open models and text now, so that what they lack is said before anything is measured; returns the run."""
        _ = self.models, self.corpus
        return self

    def tokens(self, *, batch_tokens: int | None = None, row_length: int | None = None) -> TokenStream:
        """The ids of the held-out text, a document a row, cut to `row_length` tokens, from its beginning.

        Rows are no longer than the models' context, nor than what all layers see at once.
        """
        window = attention_window(self.models.module.config.get_text_config())
        asked = row_length or self.text.row_length
        longest = min(asked, self.models.distilled.context, window or asked)
        text = replace(self.text, row_length=longest)
        return TokenStream(
            self.corpus.held_out,
            self.models.tokenizer,
            row_length=text.row_length,
            batch_tokens=text.forward_tokens if batch_tokens is None else batch_tokens,
            seed=self.seed,
        )

    def facts(self) -> dict[str, str]:
        """What a report's head says of it."""
        about = self.adapter.config
        base, distilled = (in_checkout(source.name) for source in self.models.sources)
        return {
            "models": f"{distilled}, with the MLPs of {base}",
            "adapter": "; ".join(
                (f"{about.n_latents:,} latents in each of {about.n_layers} layers", *about.assumptions)
            ),
            "text": f"{self.text.data}, {self.corpus.part}",
        }

    def _sources(self) -> tuple[str, str]:
        """Base and distilled model: those that are named, or those that the adapter was trained on."""
        named = self.models_choice
        if named.are_named():
            return find_pair(named.pair, named.base, named.distilled).models
        if not self.adapter.config.sources:
            raise ValueError(
                f"{self.choice.run} does not say which models its adapter was trained on: give a pair by name, or base"
                " and distilled"
            )
        base, distilled = (str(CHECKOUT / s) if (CHECKOUT / s).is_dir() else s for s in self.adapter.config.sources)
        return base, distilled


def _trained_on(folder: Path) -> TextSettings:
    """The text that the adapter in a run's folder was trained on; the embedded text where the folder does not say."""
    path = folder / "config.json"
    saved = read_section(path, "run") if path.is_file() else {}
    if not saved:
        return TextSettings(data=EMBEDDED_THINKING)
    text = AdapterRunConfig.from_settings(saved).text
    least = TextSettings(row_length=text.row_length, forward_tokens=max(TextSettings().forward_tokens, text.row_length))
    return replace(least, data=text.data, text_field=text.text_field)
