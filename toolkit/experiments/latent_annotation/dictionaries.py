"""The latents of a crosscoder or of an adapter, as annotation needs them: by number, by name, and on text."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from toolkit.adapters.latent_names import latent_name, latent_number, numbered_latent, parse_latents
from toolkit.adapters.modes import Latent
from toolkit.annotation.evidence import Name
from toolkit.annotation.subjects import Subjects, adapter_subjects, crosscoder_subjects
from toolkit.dictionaries.crosscoder import check_latents
from toolkit.dictionaries.storage import weights_hash
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.run import Run
from toolkit.experiments.top_examples.measure import LARGEST_CODES
from toolkit.geometry.decoder_norms import nrn, rows_by_model
from toolkit.harvest.harvesting import open_mask
from toolkit.latents.coded_batches import CodedBatch, adapter_batches, first_tokens
from toolkit.tracking import track
from toolkit.training.streams import fitting_tokens


@runtime_checkable
class Dictionary(Protocol):
    """Latents that are numbered from 0, which are the columns of its codes."""

    @property
    def run(self) -> Run | AdapterRun:
        """What was opened."""

    @property
    def n_latents(self) -> int:
        """How many there are."""

    @property
    def hash(self) -> str:
        """Sha256 of its weights."""

    @property
    def nrn(self) -> Float[Tensor, " latent"] | None:
        """Every latent's NRN, where there are two models to compare."""

    def name(self, number: int) -> Name:
        """What a latent is called."""

    def number(self, name: Name) -> int:
        """The latent that is called so; raises `ValueError` for one that does not exist."""

    @property
    def model(self) -> str:
        """Name of the last model, without its folder or owner."""

    def place(self, number: int) -> Latent:
        """A latent's layer, and its index there."""

    def coded(self, tokens: int) -> Iterator[CodedBatch]:
        """Read so many tokens of text from its beginning, with the codes of all latents."""

    def subjects(self, numbers: Sequence[int]) -> Subjects:
        """What of these latents is known before text is read."""


class CrosscoderLatents:
    """The latents of a run's own crosscoder."""

    def __init__(self, run: Run) -> None:
        self.run, self.n_latents = run, run.crosscoder.config.n_latents

    @cached_property
    def hash(self) -> str:
        """Sha256 of its weights."""
        return weights_hash(self.run.crosscoder.state_dict())

    @cached_property
    def nrn(self) -> Float[Tensor, " latent"] | None:
        """Every latent's NRN of the first and the last model; None for a crosscoder of one model."""
        n_models = len(self.run.crosscoder.config.models)
        if n_models < 2:
            return None
        return nrn(rows_by_model(self.run.crosscoder.W_dec.detach().cpu(), n_models)[:, [0, -1]])

    def name(self, number: int) -> Name:
        """Its index."""
        return number

    def number(self, name: Name) -> int:
        """A latent by its index."""
        if not str(name).strip().isdecimal():
            raise ValueError(f"latent {name!r}: give an index, such as 623; layer/index is for --adapter")
        return check_latents([int(name)], self.n_latents)[0]

    @property
    def model(self) -> str:
        """Name of the last model, without its folder or owner."""
        return self.run.models.found[-1].name.rstrip("/").rpartition("/")[2]

    def place(self, number: int) -> Latent:
        """The last layer that the crosscoder reads, and its index."""
        return self.run.crosscoder.config.layers[-1], number

    def coded(self, tokens: int) -> Iterator[CodedBatch]:
        """The run's text."""
        return self.run.coded(tokens, batch_tokens=fitting_tokens(self.run.reading.text, LARGEST_CODES, self.n_latents))

    def subjects(self, numbers: Sequence[int]) -> Subjects:
        """What of these latents is known before text is read."""
        return crosscoder_subjects(self.run.models, self.run.crosscoder, list(numbers))


class AdapterLatents:
    """The latents of all layers of an adapter, layer after layer."""

    nrn = None

    def __init__(self, run: AdapterRun) -> None:
        about = run.adapter.config
        self.run, self.n_latents = run, about.n_layers * about.n_latents
        self._layers, self._together = range(about.n_layers), about.n_latents

    @cached_property
    def hash(self) -> str:
        """Sha256 of its weights."""
        return weights_hash(self.run.adapter.state_dict())

    def name(self, number: int) -> Name:
        """As layer/index."""
        return latent_name(self.place(number))

    def number(self, name: Name) -> int:
        """A latent by layer/index."""
        return latent_number(parse_latents([str(name)], self.run.adapter.config)[0], self._together)

    @property
    def model(self) -> str:
        """Name of the distilled model, without its folder or owner."""
        return self.run.models.sources[-1].name.rstrip("/").rpartition("/")[2]

    def place(self, number: int) -> Latent:
        """Its layer and its index there."""
        return numbered_latent(number, self._together)

    def coded(self, tokens: int) -> Iterator[CodedBatch]:
        """The run's text, with codes in units of what a latent adds to the stream."""
        rows = self.run.tokens(batch_tokens=fitting_tokens(self.run.text, LARGEST_CODES, self.n_latents))
        batches = first_tokens(adapter_batches(self.run.models, self._layers, None, rows, open_mask()), tokens)
        return track(batches, "reading text", "tokens", total=tokens, size=lambda batch: len(batch.codes))

    def subjects(self, numbers: Sequence[int]) -> Subjects:
        """What of these latents is known before text is read."""
        return adapter_subjects(self.run.models, self._layers, list(map(self.place, numbers)))


def open_dictionary(opened: Run | AdapterRun) -> Dictionary:
    """The latents of what was opened."""
    return CrosscoderLatents(opened) if isinstance(opened, Run) else AdapterLatents(opened)
