"""A training run on disk: activations to crosscoder, with checkpoints from which a killed run continues exactly."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from toolkit.dictionaries.activation_batches import NonFiniteError, describe_streams
from toolkit.dictionaries.collectives import ALONE, WHOLE, Ranks, Split
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.initialisation import INITIAL_TOKENS, initialise
from toolkit.dictionaries.training import CrosscoderTrainer, StepMetrics, has_latent_rows, train
from toolkit.harvest.activations import ActivationSource
from toolkit.harvest.cache_shards import DTYPES
from toolkit.harvest.feed import Feed
from toolkit.harvest.tokens import DOCUMENTS
from toolkit.models.pair import ModelPair
from toolkit.reports.console import RunConsole
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.tracking import Stopwatch
from toolkit.training.checkpoints import Checkpoint
from toolkit.training.folder import RunFolder
from toolkit.training.plans import key_of, planned, shown_figures, states_by_key
from toolkit.training.remote_use import forecast, traffic
from toolkit.training.saving import NEVER, Saver
from toolkit.training.step_log import StepLog
from toolkit.training.stepping import reading, stepping


class TrainingRun:
    """Feed and trainers of one run, saved and loaded together.

    It reads the run's settings as a whole. `sources` are the activations of the shards of the text that this process
    reads, `ranks` the processes of the run. `plans` are the crosscoders to train on the same batches, by name; by
    default there is one, `config.training`. Their tokens and batches must be alike. Each is trained once for each of
    the run's seeds. `trainers` go by `key_of`; `trainer` is the first, of the run's own seed.

    Use it as a context manager: leaving it stops the reading threads, so that the models are free.

    Raises:
        ValueError: the data hold less than one batch of ordinary tokens, or a batch does not divide by the shards.
        DiskFullError: the disk has no room for the checkpoints, now or later.
        NonFiniteError: see `CrosscoderTrainer.step`; the message names the last checkpoint.
        Interrupted: a signal came, to any of the processes; a checkpoint was saved.
        Exception: whatever ended the reading of activations, with a note whether a checkpoint was saved; or the writing
        of a checkpoint, twice in a row (of several processes, once).
    """

    def __init__(
        self,
        config: RunConfig,
        pair: ModelPair,
        sources: Mapping[int, ActivationSource],
        folder: RunFolder,
        *,
        plans: Mapping[str, TrainingConfig] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config, self.folder, self.pair, self.ranks = config, folder, pair, ranks
        self._split = Split(latents=ranks) if config.feed.shard == "latents" else Split(tokens=ranks)
        self._names = list(plans or ["crosscoder"])
        self._plans = planned(config, plans or {"crosscoder": config.training})
        self.stopwatch = Stopwatch()
        self.masks: dict[str, int] = {}
        """Tokens kept, and dropped by reason, by all ranks up to the last activation that entered a buffer: known when
        the steps have ended."""
        self.documents: dict[str, int] = {}
        """Documents read, and left out by reason, likewise."""
        self._started, self._ran_out = time.perf_counter(), False
        self._checkpoints = replace(folder.checkpoints, run=folder.identity() if ranks.is_first else None)
        self._saver = Saver(
            self._checkpoints, self.stopwatch, ranks, has_latent_rows if self._split.latents.size > 1 else None
        )
        checkpoint = self._checkpoints.load(sources, self._own_rows, ranks) if config.output.resume else None
        self._before: float = checkpoint.state["seconds"] if checkpoint else 0.0
        self._saver.step = checkpoint.step if checkpoint else NEVER
        self._feed = Feed(sources, config.shuffling, pair.device, checkpoint.shards if checkpoint else None)
        try:
            states = states_by_key(checkpoint.tensors, pair.device) if checkpoint else self._first_states()
            self.trainers = {key: self._trainer(key, states[key], self._split) for key in self._plans}
            self.trainer = next(iter(self.trainers.values()))
            if checkpoint is None:
                self._meet_the_end()
        except BaseException:
            self._feed.close()
            raise
        if ranks.is_first:
            self.folder.drop_records_after(self.trainer.steps_done)

    @property
    def seconds(self) -> float:
        """Time spent on the run so far, before and after interruptions."""
        return self._before + time.perf_counter() - self._started

    def _trainer(self, key: str, state: dict[str, Tensor], split: Split) -> CrosscoderTrainer:
        pair, training = self.pair, self._plans[key].training
        return CrosscoderTrainer(
            training, state, models=pair.names, layers=pair.layers, sources=pair.origins, split=split
        )

    def _own_rows(self, name: str, rows: int) -> slice:
        return self._split.latents.share_of(rows) if has_latent_rows(name) else slice(0, rows)

    def _first_states(self) -> dict[str, dict[str, Tensor]]:
        first = self._feed.peek(INITIAL_TOKENS)
        if self.ranks.highest(int(not first.isfinite().all())):
            raise self._checkpoints.noted(NonFiniteError(1, describe_streams(self.ranks.gathered(first))))
        states = {
            key: initialise(
                plan.training, len(self.pair.names), first, torch.Generator().manual_seed(plan.seed), self._split
            )
            for key, plan in self._plans.items()
        }
        held = self.config.feed.buffer_tokens * first[0].numel() * DTYPES[self.config.feed.buffer_dtype].itemsize
        own = sum(tensor.nbytes for state in states.values() for tensor in state.values())
        self.folder.require_space(held + self._split.latents.total(own))
        return states

    def follow(self, console: RunConsole) -> None:
        """Take all steps with progress; say what is to come over the wire, and warn where the text ends early."""
        training, start = self.trainer.training, self.trainer.tokens_seen
        reading = self._feed.reading_seconds["reading activations"]
        if self.config.where.remote and (reading or not self.config.feed.cache):  # from a cache, perhaps nothing comes
            console.note(forecast(self.pair, training.tokens - start, reading, self.ranks.size))
        if short := self.data_ended():  # a text smaller than the buffer
            console.warn(short)
        label = "training" if len(self.trainers) == 1 else f"training {len(self.trainers)} crosscoders"
        streams = self.trainer.config.streams
        with console.progress(label, training.tokens, streams=streams, start=start) as tick:
            for steps in self.steps():
                tick(steps[0].tokens, received=traffic(self.pair).received, **shown_figures(steps))
        if short := self.data_ended():
            console.warn(short)

    def steps(self) -> Iterator[tuple[StepMetrics, ...]]:
        """Train to the end, yielding each step's metrics, one of each crosscoder, after they were recorded.

        With several a record says whose it is: its `plan`, its `seed`, or both.
        """
        steps = self.stopwatch.waiting("training steps", train([*self.trainers.values()], self._batches()))
        with self._open_log() as log:
            try:
                yield from stepping(
                    steps,
                    record=lambda metrics: self._record(metrics, log),
                    save=self._begin_to_save,
                    saver=self._saver,
                    done=lambda: self.trainer.steps_done,
                    every=self.config.output.checkpoint_steps,
                    ranks=self.ranks,
                )
            except NonFiniteError as error:
                raise self._checkpoints.noted(error) from None
        counts = {name: self.ranks.total(count) for name, count in self._feed.masks.items()}
        self.documents = {name: counts.pop(name) for name in DOCUMENTS if name in counts}
        self.masks = counts

    def _batches(self) -> Iterator[Tensor]:
        batches = iter(self._feed)
        while True:
            self._fill()
            if not self._meet_the_end():
                self._ran_out = True
                return
            yield next(batches)

    def _meet_the_end(self) -> int:
        """Batches that all ranks have left; once that is known, the schedules end with the last of them."""
        left = self.ranks.lowest(self._feed.batches_left())
        for trainer in self.trainers.values() if left else ():
            trainer.end_by(self.trainer.steps_done + left)
        return left

    def _fill(self) -> None:
        """Read what the next step takes."""
        reading(
            self._feed.fill,
            save=self._begin_to_save,
            saver=self._saver,
            done=lambda: self.trainer.steps_done,
            ranks=self.ranks,
        )

    def _record(self, metrics: tuple[StepMetrics, ...], log: StepLog | None) -> None:
        if not self.ranks.is_first:
            return
        records = {key: asdict(step) for key, step in zip(self._plans, metrics, strict=True)}
        for key, record in records.items():
            self.folder.append_record({**self._plans[key].said, **record})
        if log:
            log.add(records, self.trainer.config.streams)

    def _open_log(self) -> AbstractContextManager[StepLog | None]:
        """What shows the steps in another tool, where one is asked for."""
        tool = self.config.output.log
        if not (tool and self.ranks.is_first):
            return nullcontext()
        return closing(StepLog(tool, self.folder, self.config.settings(), self.trainer.steps_done))

    def data_ended(self) -> str | None:
        """What to say where the data hold less than the planned tokens; None as long as that is not known."""
        planned, training = self.config.training, self.trainer.training
        seen, schedules = training.tokens, f"all schedules end with step {training.steps:,} of {planned.steps:,}"
        if self._ran_out:
            seen, schedules = self.trainer.tokens_seen, "too suddenly for the schedules: raise --buffer-tokens"
        if seen == planned.tokens:
            return None
        ended = f"the data ended after {seen:,} of {planned.tokens:,} tokens, {schedules}"
        return f"{ended}; give more text, or --tokens {seen}"

    def metrics(self) -> dict[str, Any]:
        """The run's part of `metrics.json`; the seconds of its threads overlap with the trainer's."""
        return {
            "tokens": self.trainer.tokens_seen,
            "seconds": self.seconds,
            "masks": self.masks,
            "documents": self.documents,
            "seconds_in_reading_thread": self._feed.reading_seconds,
            "seconds_in_writing_thread": self._saver.seconds,
        }

    def seconds_by_stage(self) -> dict[str, float]:
        """Wall time in this session: waiting for activations, shuffling, training, and what checkpoints held it up.

        The stages do not overlap; the thread that writes checkpoints beside them is in `metrics`.
        """
        spent, feed = self.stopwatch.seconds, self._feed.stopwatch.seconds
        waiting, buffer = feed["waiting for activations"], feed["buffer"]
        return {
            "waiting for activations": waiting,
            "shuffle buffer": max(0.0, buffer - waiting),
            "training steps": spent["training steps"] - buffer,
            "checkpoints": spent["checkpoints"],
        }

    def save(self) -> None:
        """Write a checkpoint, unless this step has one, and return when it is written."""
        self._begin_to_save()
        self._saver.wait()

    def _begin_to_save(self) -> None:
        """Let a checkpoint be written, unless this step has one."""
        if self.trainer.steps_done == self._saver.step:
            return
        tensors = {
            f"{key}/{name}": tensor
            for key, trainer in self.trainers.items()
            for name, tensor in trainer.state_dict().items()
        }
        checkpoint = Checkpoint(
            step=self.trainer.steps_done,
            tensors=tensors,
            state={"seconds": self.seconds},
            shards=self._feed.state_dict(),
        )
        self._saver.save(checkpoint)

    def __enter__(self) -> "TrainingRun":
        return self

    def __exit__(self, *_: object) -> None:
        self._feed.close()

    def crosscoders(self, plan: str | None = None) -> Iterator[tuple[int, Crosscoder]]:
        """Yield the dictionaries of a plan (by default the first) by seed, as they stand; the ranks need not meet.

        Where they share out the latents, it is what the last checkpoint holds.
        """
        keys = {seed: key_of(plan or self._names[0], seed, self.config) for seed in self.config.trained_seeds}
        if self._split.latents.size == 1:
            yield from ((seed, self.trainers[key].crosscoder()) for seed, key in keys.items())
            return
        saved = self._checkpoints.load()
        assert saved is not None, "the steps end with a checkpoint"
        states = states_by_key(saved.tensors)
        for seed, key in keys.items():
            yield seed, self._trainer(key, states[key], WHOLE).crosscoder().to(self.pair.device)
