"""Trains one of the organism's models: Muon for the matrices, AdamW for the rest, one process a core.

Two processes of one thread each, which average their gradients, are half again as fast here as one process of two
threads.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.multiprocessing import get_context
from torch.multiprocessing.spawn import ProcessContext, spawn
from torch.nn.functional import cross_entropy
from transformers import Qwen2Config, Qwen2ForCausalLM

from toolkit.organism.packing import ROW_LENGTH, Rows, attention_mask, position_ids
from toolkit.tracking import track

ROWS_A_STEP = 8
CHECKPOINT = "checkpoint.safetensors"
LOOK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """One stretch of training: from random weights, or from another phase's."""

    tokens: int
    matrix_lr: float
    other_lr: float
    seed: int
    warmup_steps: int = 80
    flat_share: float = 0.3
    final_lr_share: float = 0.03
    checkpoint_steps: int = 100

    @property
    def steps(self) -> int:
        """Number of optimizer steps."""
        return self.tokens // (ROWS_A_STEP * ROW_LENGTH)

    def lr_factor(self, step: int) -> float:
        """Linear warm-up, flat, then linear down to `final_lr_share`."""
        flat_until = self.flat_share * self.steps
        decay = max(0.0, (step - flat_until) / (self.steps - flat_until))
        return min(1.0, (step + 1) / self.warmup_steps) * (1 - decay * (1 - self.final_lr_share))


def new_model(vocabulary: int, seed: int) -> Qwen2ForCausalLM:
    """A random Qwen2 of two million parameters."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=160,
        intermediate_size=448,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        rope_theta=10_000.0,
        tie_word_embeddings=True,
        initializer_range=0.04,
        use_sliding_window=False,
    )
    return Qwen2ForCausalLM(config)


def train_phase(
    start: Qwen2ForCausalLM, rows: Rows, config: PhaseConfig, folder: Path, processes: int
) -> Qwen2ForCausalLM:
    """Train `start` on `rows`; `folder` keeps the checkpoint from which a killed run goes on.

    With another number of processes the sums are added in another order, and the weights differ in their last bits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = 20_000 + os.getpid() % 20_000
    before = _steps_done(folder)
    done = get_context("spawn").Value("q", before)
    running = spawn(_worker, args=(processes, port, start, rows, config, folder, done), nprocs=processes, join=False)
    for _ in track(_steps(running, done, before), "training", "steps", total=config.steps - before, size=int):
        pass
    start.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    start.tie_weights()
    return start


def _steps(running: ProcessContext, done: "Synchronized[int]", before: int) -> Iterator[int]:
    """How many steps were done since the last look, until all processes have ended."""
    over = False
    while not over:
        over = running.join(timeout=LOOK_SECONDS)
        now = done.value
        yield now - before
        before = now


def _worker(
    rank: int,
    processes: int,
    port: int,
    model: Qwen2ForCausalLM,
    rows: Rows,
    config: PhaseConfig,
    folder: Path,
    counter: "Synchronized[int]",
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=processes)
    optimizers = _optimizers(model, config)
    first_step = _resume(model, optimizers, folder)
    started = time.monotonic()
    for step in range(first_step, config.steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * config.lr_factor(step)
        mine = torch.arange(step * ROWS_A_STEP + rank, (step + 1) * ROWS_A_STEP, processes) % len(rows)
        loss = _loss(model, rows.select(mine))
        loss.backward()
        _average_gradients(model, processes)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        done = step + 1
        if rank == 0:
            counter.value = done
        if rank == 0 and (done % config.checkpoint_steps == 0 or done == config.steps):
            _save(model, optimizers, done, folder)
            seconds = time.monotonic() - started
            record = {"step": done, "steps": config.steps, "loss": loss.item(), "seconds": round(seconds, 1)}
            with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
    dist.destroy_process_group()


def _loss(model: Qwen2ForCausalLM, rows: Rows) -> Tensor:
    document = rows.document.long()
    logits = model(
        input_ids=rows.input_ids.long(),
        attention_mask=attention_mask(document),
        position_ids=position_ids(document),
        use_cache=False,
    ).logits
    weight = rows.weight[:, 1:].flatten()
    predicts = weight.nonzero().squeeze(1)
    losses = cross_entropy(
        logits[:, :-1].flatten(0, 1)[predicts],
        rows.input_ids[:, 1:].flatten()[predicts].long(),
        reduction="none",
    )
    return (losses * weight[predicts]).sum() / weight.sum()


def _average_gradients(model: nn.Module, processes: int) -> None:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= processes
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _optimizers(model: nn.Module, config: PhaseConfig) -> list[torch.optim.Optimizer]:
    parameters = dict(model.named_parameters())
    in_matrices = {name for name, p in parameters.items() if p.ndim == 2 and "embed" not in name}
    matrices = {"params": [p for n, p in parameters.items() if n in in_matrices], "peak_lr": config.matrix_lr}
    others = {"params": [p for n, p in parameters.items() if n not in in_matrices], "peak_lr": config.other_lr}
    return [
        torch.optim.Muon([matrices], momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([others], betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def _save(model: nn.Module, optimizers: list[torch.optim.Optimizer], step: int, folder: Path) -> None:
    tensors = {name: p.detach() for name, p in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors")
    state = {
        f"{number}.{index}.{key}": value
        for number, optimizer in enumerate(optimizers)
        for index, entries in optimizer.state_dict()["state"].items()
        for key, value in entries.items()
    }
    state |= {f"model.{name}": value for name, value in tensors.items()}
    temporary = folder / "checkpoint.tmp"
    save_file(state, temporary, metadata={"step": str(step)})
    temporary.replace(folder / CHECKPOINT)


def _steps_done(folder: Path) -> int:
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"])


def _resume(model: nn.Module, optimizers: list[torch.optim.Optimizer], folder: Path) -> int:
    step = _steps_done(folder)
    if step == 0:
        return 0
    tensors = load_file(folder / CHECKPOINT)
    for name, parameter in model.named_parameters():
        parameter.data.copy_(tensors[f"model.{name}"])
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"{number}."):
                _, index, key = name.split(".", 2)
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    return step
