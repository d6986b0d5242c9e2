"""A run that is opened to be examined: its crosscoder, settings, models and text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from toolkit.artifacts import read_json_object
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.run_settings import default_settings, read_run, trained_on, with_models
from toolkit.experiments.seed_folders import check_null, seed_folders
from toolkit.fields import changed
from toolkit.harvest.choices import EMBEDDED
from toolkit.harvest.documents import Corpus
from toolkit.harvest.tokens import TokenMask, TokenStream, describe_documents
from toolkit.interventions.edits import check_match
from toolkit.latents.coded_batches import CodedBatch, coded_batches, first_tokens
from toolkit.models.pair import ModelPair
from toolkit.models.presets import find_pair
from toolkit.models.where import Where, as_where
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.settings.findings import SHIPPED, CrosscoderChoice, TextChoice
from toolkit.settings.models import ModelChoice
from toolkit.settings.remote_start import check_hosted
from toolkit.statistics.estimates import GIVEN_ONE
from toolkit.tracking import track
from toolkit.training import streams
from toolkit.training.streams import open_mask, open_tokens

OF_ANOTHER_PAIR = (
    "train on models that it hosts, with `python recipes/train_crosscoder.py --remote --out runs/remote`, and add"
    " --run runs/remote, or leave out --remote"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A trained crosscoder with its settings, its models and its text, read as they were in training.

    Models and text are opened when they are first asked for.
    """

    crosscoder: Crosscoder
    settings: RunConfig
    """The run's settings, with the data and models that are examined now."""
    open_models: Callable[[], ModelPair]
    """Loads the models; raises `ValueError` where they and the crosscoder do not belong together."""
    open_text: Callable[[], Corpus]
    """Opens the text; raises `ValueError` where it cannot be read."""
    folder: Path | None = None
    """Where it was opened."""
    named_layer: int | None = None
    """Site of edits, where one was named."""
    null_folder: Path | None = None
    """Run folder of the null pair, where one was named."""
    _masks: list[TokenMask] = field(default_factory=list)

    @classmethod
    def open(cls, folder: str | Path = SHIPPED, *, where: Where | Any = "auto") -> "Run":
        """Open a run folder, or any folder with a crosscoder that says which models it reads; default: the shipped one.

        `where` is as `ModelPair.from_pretrained` takes it. Raises `ValueError` where there is no crosscoder; what its
        models or its text lack is said where they are first used.
        """
        return cls.of(CrosscoderChoice(run=Path(folder)), TextChoice(), ModelChoice(), as_where(where))

    @classmethod
    def of(cls, choice: CrosscoderChoice, text: TextChoice, models: ModelChoice, where: Where) -> "Run":
        """Open what an experiment's settings name, as `open` does."""
        crosscoder = Crosscoder.from_pretrained(choice.run)
        _check_layers(crosscoder, choice.layer)
        settings = with_models(read_run(choice.run) or default_settings(crosscoder.config), models, choice.run)
        settings = replace(settings, where=where)
        if text.data is not None:
            settings = changed(settings, data=text.data, text_field=text.text_field)

        def open_models() -> ModelPair:
            if where.remote and settings.models.pair == EMBEDDED:
                check_hosted(find_pair(EMBEDDED, None, None).models, where.insecure_host, OF_ANOTHER_PAIR)
            opened = replace(settings.models.open(where), layers=crosscoder.config.layers)
            check_match(opened, crosscoder, other_models=choice.other_models)
            crosscoder.to(opened.device)
            return opened

        def open_text() -> Corpus:
            corpus = streams.open_text(settings.text, settings.seed)
            return corpus.read_whole() if text.data and not trained_on(text.data, choice.run) else corpus

        return cls(
            crosscoder=crosscoder,
            settings=settings,
            open_models=open_models,
            open_text=open_text,
            folder=choice.run,
            named_layer=choice.layer,
            null_folder=choice.null,
        )

    def __repr__(self) -> str:
        """What it is, without opening models or text."""
        config = self.crosscoder.config
        read = f"{' and '.join(config.models)} at the input of layer {', '.join(map(str, config.layers))}"
        return f"Run({str(self.folder)!r}: {config.n_latents:,} latents, {config.sparsity},\n    of {read})"

    @cached_property
    def crosscoders(self) -> dict[int, Crosscoder]:
        """The crosscoders by seed: the run's own first, then those that it trained from other initial weights.

        All were trained on the same stream; what they differ in is what a finding owes to the dictionary's chance.
        Raises `ValueError` for one that is not whole, or was not trained beside the run's own.
        """
        device = self.crosscoder.b_dec.device
        others = {seed: Crosscoder.from_pretrained(folder).to(device) for seed, folder in self._others.items()}
        return {self.settings.seed: self.crosscoder} | others

    @property
    def _others(self) -> dict[int, Path]:
        """Folders of the other crosscoders."""
        return seed_folders(self.folder, self.crosscoder, self.settings.seed) if self.folder else {}

    @property
    def opened_folders(self) -> list[Path]:
        """Where all crosscoders lie that were opened so far: the run's own, those of other seeds, those of the null
        run."""
        opened = vars(self)
        others = [*self._others.values()] if "crosscoders" in opened else []
        null = opened["null"].opened_folders if opened.get("null") else []
        return [*([self.folder] if self.folder else []), *others, *null]

    @cached_property
    def null(self) -> "Run | None":
        """The run on the null pair, base and control, whose crosscoder was trained alike; None where none is named.

        What this run says of the distilled model should not show there. It reads this run's text, cut and masked alike.
        Its models are loaded when they are first asked for. Raises an error where the folder that is named has no
        crosscoder, as opening a run does, and `ValueError` for one of another shape.
        """
        if self.null_folder is None:
            return None
        choice = CrosscoderChoice(run=self.null_folder, layer=self.named_layer)
        opened = Run.of(choice, TextChoice(), ModelChoice(), self.settings.where)
        check_null(opened.crosscoder, self.crosscoder, self.null_folder)
        alike = replace(opened.settings, text=self.settings.text, mask=self.settings.mask)
        return replace(opened, settings=alike, open_text=lambda: self.corpus)

    @cached_property
    def models(self) -> ModelPair:
        """The models that the crosscoder reads, at its layers; loaded when first asked for."""
        return self.open_models()

    @cached_property
    def corpus(self) -> Corpus:
        """The text of the run, or what is read in its place; opened when first asked for."""
        return self.open_text()

    def load(self) -> "Run":
        """Open models and text now, so that what they lack is said before anything is measured; returns the run.

        Crosscoders of other seeds are looked at as well; a null run is opened by those who use it.
        """
        _ = self._others, self.models, self.corpus
        return self

    @cached_property
    def reading(self) -> RunConfig:
        """The settings that text is read with: rows no longer than the models' context."""
        return changed(self.settings, row_length=min(self.settings.text.row_length, self.models.context))

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The final figures that training left in the folder; raises `ValueError` where it left none."""
        path = (self.folder or Path()) / "metrics.json"
        if not path.is_file():
            raise ValueError(f"{path} does not exist: open the folder of a training run that has ended")
        return read_json_object(path)

    @property
    def layer(self) -> int:
        """The layer at whose input edits are made; raises `ValueError` for several of which none was named."""
        layers = self.crosscoder.config.layers
        if self.named_layer is None and len(layers) > 1:
            raise ValueError(f"the crosscoder reads layers {layers}: name the one to edit as layer")
        return layers[0] if self.named_layer is None else self.named_layer

    def facts(self) -> dict[str, str]:
        """What a report's head says of it."""
        config = self.crosscoder.config
        # Of several passes over the text, that which read most of it says what became of the documents.
        passes = sorted((mask.counts for mask in self._masks), key=lambda counts: counts["kept"])
        documents = describe_documents(passes[-1]) if passes else ""
        layers = ", ".join(map(str, config.layers))
        return {
            "models": " → ".join(self.models.origins),
            "site": f"input of layer {layers} of {self.models.n_layers}, d_model {config.d_model}",
            "crosscoder": "; ".join((f"{config.n_latents:,} latents, {config.sparsity}", *config.assumptions)),
            **self._beside(),
            "text": f"{self.settings.text.data}, {self.corpus.part}",
        } | ({"documents": documents} if documents else {})

    def _beside(self) -> dict[str, str]:
        """What a report's head says of the crosscoders of other seeds and of the null run, where they were opened."""
        opened = vars(self)
        said: dict[str, str] = {}
        if "crosscoders" in opened:
            seeds = [*self.crosscoders]
            said["seeds"] = f"{len(seeds)}: {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"1: {GIVEN_ONE}"
        if null := opened.get("null"):
            said["null pair"] = " → ".join(null.crosscoder.config.sources or null.crosscoder.config.models)
        return said

    def open_mask(self) -> TokenMask:
        """A fresh mask; what it counts will be told by `facts`."""
        self._masks.append(open_mask(self.settings.mask, self.models))
        return self._masks[-1]

    def tokens(self, *, batch_tokens: int | None = None) -> TokenStream:
        """The ids of the held-out text, from its beginning."""
        run = self.reading
        return open_tokens(run.text, self.models, self.corpus.held_out, seed=run.seed, batch_tokens=batch_tokens)

    def coded(self, tokens: int, *, batch_tokens: int | None = None) -> Iterator[CodedBatch]:
        """The text from its beginning, read and encoded, in whole batches until `tokens` tokens were selected."""
        stream = self.tokens(batch_tokens=batch_tokens)
        batches = coded_batches(self.models, self.crosscoder, stream, self.open_mask())
        wanted = first_tokens(batches, tokens)
        return track(wanted, "reading text", "tokens", total=tokens, size=lambda batch: len(batch.codes))


def _check_layers(crosscoder: Crosscoder, asked: int | None) -> None:
    """Raise `ValueError` for a crosscoder whose files do not say which layers it reads, and for another layer."""
    layers = crosscoder.config.layers
    if min(layers) < 0:
        raise ValueError(
            "the crosscoder's files do not say which layer it reads: load it once with"
            " Crosscoder.from_pretrained(PATH, layers=[…]), save_pretrained it, and give that folder"
        )
    if asked is not None and asked not in layers:
        raise ValueError(f"layer {asked}: the crosscoder reads layers {layers}; name one of them")
