"""A training run on disk: activations to crosscoder, with checkpoints from which a killed run goes on exactly."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.training import CrosscoderTrainer, NonFiniteError, StepMetrics, describe, train
from toolkit.harvest.buffer import ShuffleBuffer
from toolkit.harvest.residual import ActivationSource, Prefetch
from toolkit.harvest.stopwatch import Stopwatch
from toolkit.models.pair import ModelPair
from toolkit.runs.folder import Checkpoint, RunFolder
from toolkit.runs.interrupts import Interrupted, InterruptGuard
from toolkit.runs.settings import RunConfig

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
INITIAL_TOKENS = 32_768


class TrainingRun:
    """Prefetch, shuffle buffer and trainer of one run, saved and loaded together.

    Use it as a context manager: leaving it stops the reading thread, so that the models are free.

    Raises:
        ValueError: the data hold less than one batch of ordinary tokens.
        DiskFullError: the disk has no room for the checkpoints, now or later.
        NonFiniteError: see `CrosscoderTrainer.step`; the message names the last checkpoint.
        Interrupted: a signal came; a checkpoint was saved.
    """

    def __init__(self, config: RunConfig, pair: ModelPair, stream: ActivationSource, folder: RunFolder) -> None:
        self.config, self.folder, self._stream = config, folder, stream
        self.stopwatch = Stopwatch()
        self._before = 0.0
        self._saved_step = -1
        self._started = time.perf_counter()
        checkpoint = folder.load_checkpoint() if config.resume else None
        if checkpoint is not None:
            self._saved_step = checkpoint.step
            stream.load_state_dict(checkpoint.state["stream"])
        self._prefetch = Prefetch(stream)
        self._buffer = ShuffleBuffer(
            self.stopwatch.waiting("waiting for activations", self._prefetch),
            capacity=config.buffer_tokens,
            batch_tokens=config.training.batch_tokens,
            dtype=DTYPES[config.buffer_dtype],
            generator=torch.Generator().manual_seed(config.seed),
        )
        try:
            state = self._first_state(pair) if checkpoint is None else self._restore(checkpoint, pair)
        except BaseException:
            self._prefetch.close()
            raise
        self.trainer = CrosscoderTrainer(
            config.training, state, models=pair.names, layers=pair.layers, sources=pair.origins
        )
        self.folder.drop_records_after(self.trainer.steps_done)

    @property
    def seconds(self) -> float:
        """Time spent on the run so far, before and after interruptions."""
        return self._before + time.perf_counter() - self._started

    @property
    def masks(self) -> dict[str, int]:
        """Tokens kept, and dropped by reason, up to the last activation that entered the buffer."""
        counts: dict[str, int] = self._prefetch.state_dict()["mask"]["counts"]
        return counts

    def _first_state(self, pair: ModelPair) -> dict[str, Tensor]:
        first = self._buffer.peek()
        if len(first) < self.config.training.batch_tokens:
            raise ValueError(
                f"the data hold {len(first)} ordinary tokens, and one batch takes {self.config.training.batch_tokens}:"
                " give more or longer text (position 0 of each document is masked), or lower --batch-tokens"
            )
        first = first[:INITIAL_TOKENS]
        if not first.isfinite().all():
            raise self._with_checkpoint(NonFiniteError(1, describe(first)))
        generator = torch.Generator().manual_seed(self.config.seed)
        state = initialise(self.config.training, len(pair.names), first, generator)
        held = self.config.buffer_tokens * first[0].numel() * DTYPES[self.config.buffer_dtype].itemsize
        self.folder.require_space(held + sum(tensor.nbytes for tensor in state.values()))
        return state

    def _restore(self, checkpoint: Checkpoint, pair: ModelPair) -> dict[str, Tensor]:
        parts: dict[str, dict[str, Tensor]] = {"buffer": {}, "trainer": {}}
        for name, tensor in checkpoint.tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor
        self._buffer.load_state_dict(parts["buffer"], pair.device)
        self._before = checkpoint.state["seconds"]
        return {n: t if t.ndim == 0 else t.to(pair.device) for n, t in parts["trainer"].items()}

    def steps(self) -> Iterator[StepMetrics]:
        """Train to the end, yielding each step's metrics after it was recorded."""
        whole = self.config.training.batch_tokens
        batches = (batch for batch in self.stopwatch.waiting("buffer", self._buffer) if len(batch) == whole)
        steps = self.stopwatch.waiting("training steps", train(self.trainer, batches))
        with InterruptGuard() as interrupt:
            try:
                for metrics in steps:
                    self.folder.append_record(asdict(metrics))
                    yield metrics
                    stop = interrupt.received
                    if stop or metrics.step % self.config.checkpoint_steps == 0:
                        self.save()
                    if stop:
                        raise Interrupted(stop, metrics.step)
            except NonFiniteError as error:
                raise self._with_checkpoint(error) from None
            self.save()

    def _with_checkpoint(self, error: NonFiniteError) -> NonFiniteError:
        error.add_note(f"last good checkpoint: {self.folder.last_checkpoint() or 'none yet'}")
        return error

    def data_ended(self) -> str:
        """What to say when the data ran out before the planned tokens."""
        seen, planned = self.trainer.tokens_seen, self.config.training.tokens
        return (
            f"the data ended after {seen:,} of {planned:,} tokens, before the learning rate had fallen: give more text,"
            f" or train again with --tokens {seen}"
        )

    def metrics(self) -> dict[str, Any]:
        """The run's part of `metrics.json`; the reading thread's seconds overlap with the trainer's."""
        return {
            "tokens": self.trainer.tokens_seen,
            "seconds": self.seconds,
            "masks": self.masks,
            "seconds_in_reading_thread": dict(self._stream.stopwatch.seconds),
        }

    def seconds_by_stage(self) -> dict[str, float]:
        """Wall time in this session: waiting for activations, shuffling, training, checkpoints, without overlap."""
        spent = self.stopwatch.seconds
        waiting, buffer = spent["waiting for activations"], spent["buffer"]
        return {
            "waiting for activations": waiting,
            "shuffle buffer": max(0.0, buffer - waiting),
            "training steps": spent["training steps"] - buffer,
            "checkpoints": spent["checkpoints"],
        }

    def save(self) -> None:
        """Write a checkpoint, unless this step has one."""
        if self.trainer.steps_done == self._saved_step:
            return
        with self.stopwatch.stage("checkpoints"):
            tensors = {f"trainer/{name}": tensor for name, tensor in self.trainer.state_dict().items()}
            tensors |= {f"buffer/{name}": tensor for name, tensor in self._buffer.state_dict().items()}
            state: dict[str, Any] = {"stream": self._prefetch.state_dict(), "seconds": self.seconds}
            self.folder.save_checkpoint(Checkpoint(step=self.trainer.steps_done, tensors=tensors, state=state))
        self._saved_step = self.trainer.steps_done

    def __enter__(self) -> "TrainingRun":
        return self

    def __exit__(self, *_: object) -> None:
        self._prefetch.close()
