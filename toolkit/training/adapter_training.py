"""An adapter's training on disk: documents to adapter, with checkpoints from which a killed run continues exactly."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any

from transformers import PreTrainedTokenizerBase

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.train_adapter import check_row_length, open_untrained, sign
from toolkit.adapters.trainer import AdapterStep, AdapterTrainer
from toolkit.dictionaries.activation_batches import NonFiniteError
from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.dictionaries.transcoders import Adapter
from toolkit.harvest.conversations import ConversationLayout
from toolkit.harvest.documents import Corpus, open_corpus
from toolkit.harvest.tokens import TokenBatch, TokenStream
from toolkit.models.presets import find_pair
from toolkit.models.sources import find_sources
from toolkit.reports.console import RunConsole
from toolkit.settings.adapter_run import AdapterRunConfig
from toolkit.tracking import Stopwatch
from toolkit.training.adapter_folder import AdapterFolder
from toolkit.training.checkpoints import Checkpoint
from toolkit.training.ranks import on_own_device
from toolkit.training.saving import Saver
from toolkit.training.stepping import reading, stepping


def open_models(config: AdapterRunConfig, ranks: Ranks = ALONE) -> AdaptedModel:
    """Load what is trained, with an adapter as training begins; raises as `open_untrained`."""
    chosen = find_pair(config.models.pair, config.models.base, config.models.distilled)
    sources = find_sources({"base": chosen.base, "distilled": chosen.distilled})
    return open_untrained(sources, config.training.n_latents, config.seed, on_own_device(config.where, ranks))


def open_documents(data: str, text_field: str, tokenizer: PreTrainedTokenizerBase, seed: int) -> Corpus:
    """The documents that adapters are trained on, conversations laid out for the distilled model, whose tokenizer this
    is; a hub dataset's validation split is held out. Raises as `open_corpus` does."""
    lay_out = ConversationLayout(tokenizer) if tokenizer.chat_template else None
    return open_corpus(data, text_field=text_field, mix=(0.5, 0.5), seed=seed, lay_out=lay_out, own_held_out=True)


class AdapterTrainingRun:
    """Documents and trainer of one run, saved and loaded together.

    It reads the run's settings as a whole; `ranks` are the processes of the run, which share out each step's documents.

    Raises:
        ValueError: rows are longer than the model's context, or than the window of some of its layers; there are more
        ranks than documents in a step; or the text holds fewer documents than one step takes.
        DiskFullError: the disk has no room for the checkpoints, now or later.
        NonFiniteError: see `AdapterTrainer.step`; the message names the last checkpoint.
        Interrupted: a signal came, to any of the processes; a checkpoint was saved.
        Exception: whatever ended the reading of documents, with a note whether a checkpoint was saved; or the writing
        of a checkpoint, twice in a row.
    """

    def __init__(
        self,
        config: AdapterRunConfig,
        adapted: AdaptedModel,
        corpus: Corpus,
        folder: AdapterFolder,
        *,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config, self.adapted, self.folder, self.ranks = config, adapted, folder, ranks
        check_shared_out(config, ranks)
        self.trainer = AdapterTrainer(config.training, adapted, seed=config.seed, ranks=ranks)
        self.stopwatch = Stopwatch()
        self.documents: Counter[str] = Counter()
        """Documents read, and left out by reason."""
        self._tokens = document_batches(config, adapted, corpus, config.training.batch_sequences)
        self._place: dict[str, Any] = self._tokens.state_dict()
        self._started, self._before = time.perf_counter(), 0.0
        self._checkpoints = replace(folder.checkpoints, run=folder.identity() if ranks.is_first else None)
        self._saver = Saver(self._checkpoints, self.stopwatch, ranks)
        checkpoint = self._checkpoints.load(ranks=ranks) if config.output.resume else None
        if checkpoint:
            self.trainer.load_state_dict(checkpoint.tensors)
            self._place, self._before = checkpoint.state["text"], checkpoint.state["seconds"]
            self.documents.update(checkpoint.state["documents"])
            self._tokens.load_state_dict(self._place)
            self._saver.step = checkpoint.step
        elif ranks.is_first:
            folder.require_space(3 * sum(each.nbytes for each in adapted.transcoders.parameters()))
        if ranks.is_first:
            folder.drop_records_after(self.trainer.steps_done)

    @property
    def seconds(self) -> float:
        """Time spent on the run so far, before and after interruptions."""
        return self._before + time.perf_counter() - self._started

    def follow(self, console: RunConsole) -> None:
        """Take all steps with progress; say at once where no latent fires any more, and where the text ends early."""
        trainer, planned = self.trainer, self.config.training.sequences
        told = False
        with console.progress("training", planned, start=trainer.sequences_seen, unit="documents") as tick:
            for step in self.steps():
                l0, dead = fmean(step.l0), sum(step.dead) / (len(step.dead) * self.config.training.n_latents)
                tick(step.sequences, kl=step.kl, l0=l0, dead_share=dead)
                if not (any(step.l0) or told):
                    console.warn(self._all_silent(step.step))
                    told = True
        if short := self.data_ended():
            console.warn(short)

    def steps(self) -> Iterator[AdapterStep]:
        """Train to the end, yielding each step's figures after they were recorded."""
        steps = self.stopwatch.waiting("training steps", self._steps())
        try:
            yield from stepping(
                steps,
                record=self._record,
                save=self._save,
                saver=self._saver,
                done=lambda: self.trainer.steps_done,
                every=self.config.output.checkpoint_steps,
                ranks=self.ranks,
            )
        except NonFiniteError as error:
            raise self._checkpoints.noted(error) from None

    def _steps(self) -> Iterator[AdapterStep]:
        batches = iter(self._tokens)
        while self.trainer.steps_done < self.config.training.steps:
            with self.stopwatch.stage("reading text", within="training steps"):
                batch = self._next_of(batches)
            if batch is None:
                if not self.trainer.steps_done:
                    needed = self.config.training.batch_sequences
                    raise ValueError(f"the text holds fewer documents than the {needed} of one step: give more text")
                return
            step = self.trainer.step(batch.input_ids, batch.attention_mask)
            self._place = batch.next_place
            self.documents += batch.counts
            yield step

    def _next_of(self, batches: Iterator[TokenBatch]) -> TokenBatch | None:
        return reading(
            lambda: next(batches, None),
            save=self._save,
            saver=self._saver,
            done=lambda: self.trainer.steps_done,
            ranks=self.ranks,
        )

    def _record(self, step: AdapterStep) -> None:
        if self.ranks.is_first:
            self.folder.append_record(asdict(step))

    def _all_silent(self, step: int) -> str:
        given = self.config.training.sparsity_coefficient
        return (
            f"no latent fired at step {step}: --sparsity-coefficient {given:g} is too large, and what is silent learns"
            " no more: stop, and begin again with a tenth of it"
        )

    def finished(self, fingerprints: Mapping[str, str]) -> Adapter:
        """The adapter as it stands, which says whose it is."""
        return sign(self.adapted, fingerprints)

    def data_ended(self) -> str | None:
        """What to say where the text held fewer documents than were planned; None otherwise."""
        seen, planned = self.trainer.sequences_seen, self.config.training.sequences
        if self.trainer.steps_done >= self.config.training.steps:
            return None
        return (
            f"the text ended after {seen:,} of {planned:,} documents, before the learning rate had fallen: give more"
            f" text, or --sequences {seen}"
        )

    def _save(self) -> None:
        """Let a checkpoint be written, unless this step has one."""
        if self.trainer.steps_done == self._saver.step:
            return
        state = {"seconds": self.seconds, "text": self._place, "documents": dict(self.documents)}
        self._saver.save(Checkpoint(step=self.trainer.steps_done, tensors=self.trainer.state_dict(), state=state))

    def metrics(self) -> dict[str, Any]:
        """The run's part of `metrics.json`."""
        return {
            "steps": self.trainer.steps_done,
            "sequences": self.trainer.sequences_seen,
            "tokens": self.trainer.tokens_seen,
            "seconds": self.seconds,
            "documents": dict(self.documents),
            "seconds_in_writing_thread": self._saver.seconds,
        }


def check_shared_out(config: AdapterRunConfig, ranks: Ranks) -> None:
    """Raise `ValueError` where a step has too few documents for all ranks."""
    if config.training.batch_sequences < ranks.size:
        raise ValueError(
            f"{ranks.size} processes, but a step takes --batch-sequences {config.training.batch_sequences}: give"
            f" --batch-sequences {ranks.size} or more, or start fewer processes (--num_processes)"
        )


def document_batches(config: AdapterRunConfig, adapted: AdaptedModel, corpus: Corpus, rows: int) -> TokenStream:
    """The training documents, so many in a batch; raises `ValueError` as `check_row_length`."""
    text = config.text
    check_row_length(adapted, text.row_length, f"--row-length {text.row_length}")
    return TokenStream(
        corpus.train,
        adapted.tokenizer,
        row_length=text.row_length,
        batch_tokens=rows * text.row_length,
        seed=config.seed,
        batch_rows=rows,
    )
