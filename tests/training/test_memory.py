import dataclasses
from collections.abc import Callable

import pytest
import torch

from toolkit.dictionaries.collectives import Ranks
from toolkit.fields import changed
from toolkit.models.pair import ModelPair
from toolkit.models.where import Where
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS, PAPER_DEFAULTS, RunConfig
from toolkit.training import memory
from toolkit.training.memory import copied_parts, memory_parts, memory_there, require_memory
from toolkit.training.training_run import TrainingRun


def embedded(training: dict[str, int] | None = None, **run: int) -> RunConfig:
    return changed(EMBEDDED_DEFAULTS, seeds=1, **run, **training or {})


@pytest.fixture
def gigabytes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Give the machine so much memory."""

    def give(size: float) -> None:
        monkeypatch.setattr(memory, "memory_there", lambda where: (int(size * 1e9), "this machine"))

    return give


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (embedded({"n_latents": 100_000_000}), "--n-latents 100000000 takes 1,"),
        (embedded({"batch_tokens": 10**8, "tokens": 10**9}, buffer_tokens=10**8), "--batch-tokens 100000000 takes"),
        (embedded(buffer_tokens=10**12), "--buffer-tokens 1000000000000 takes"),
        (embedded(forward_tokens=10**12), "--forward-tokens 1000000000000 takes"),
    ],
    ids=["n_latents", "batch_tokens", "buffer_tokens", "forward_tokens"],
)
def test_what_memory_cannot_hold_is_refused_with_its_size_the_limit_and_the_remedy(
    config: RunConfig, named: str, gigabytes: Callable[[float], None]
) -> None:
    gigabytes(32)
    with pytest.raises(ValueError, match=f"^{named}.*but this machine has 32.0 GB: lower {named.split()[0]}$"):
        require_memory(config, [config.training])


def test_default_runs_fit(gigabytes: Callable[[float], None]) -> None:
    gigabytes(1)
    require_memory(EMBEDDED_DEFAULTS, [EMBEDDED_DEFAULTS.training])
    gigabytes(16)
    real = changed(PAPER_DEFAULTS, pair="qwen-1.5b")
    require_memory(real, [real.training])


def test_all_crosscoders_of_a_sweep_count(gigabytes: Callable[[float], None]) -> None:
    gigabytes(12)
    real = changed(PAPER_DEFAULTS, pair="qwen-1.5b")
    require_memory(real, [real.training])
    with pytest.raises(ValueError, match=r"^--n-latents 32768 takes"):
        require_memory(real, [dataclasses.replace(real.training, k=k) for k in (20, 50, 100)])


def test_all_seeds_count_and_fewer_are_a_remedy(gigabytes: Callable[[float], None]) -> None:
    gigabytes(12)
    real = changed(PAPER_DEFAULTS, pair="qwen-1.5b", seeds=3)
    with pytest.raises(ValueError, match=r"has 12.0 GB: lower --n-latents, or --seeds 3$"):
        require_memory(real, [real.training])
    require_memory(real)


def test_the_copy_that_a_checkpoint_is_written_from_counts(gigabytes: Callable[[float], None]) -> None:
    gigabytes(8)
    real = changed(PAPER_DEFAULTS, pair="qwen-1.5b")
    require_memory(real, [real.training], Ranks(size=2))  # several processes copy nothing
    with pytest.raises(ValueError, match="--n-latents"):
        require_memory(real, [real.training])


def test_beside_a_gpu_the_copy_needs_memory_of_the_machine(
    gigabytes: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gigabytes(8)
    real = changed(PAPER_DEFAULTS, pair="qwen-1.5b")
    monkeypatch.setattr(memory, "gpu_of", lambda where: torch.device("cuda"))
    monkeypatch.setattr(memory, "this_machine", lambda: (5 * 10**9, "this machine"))
    require_memory(real, [real.training])
    monkeypatch.setattr(memory, "this_machine", lambda: (3 * 10**9, "this machine"))
    with pytest.raises(ValueError, match=r"all settings take 4.0 GB, but this machine has 3.0 GB"):
        require_memory(real, [real.training])


def test_ranks_hold_their_shares(gigabytes: Callable[[float], None]) -> None:
    gigabytes(4)
    real = changed(PAPER_DEFAULTS, pair="qwen-1.5b")
    eight = Ranks(size=8)
    require_memory(changed(real, shard="latents"), [real.training], eight)
    with pytest.raises(ValueError, match="--n-latents"):  # each has the whole dictionary
        require_memory(real, [real.training], eight)


def test_processes_of_one_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    whole, _ = memory_there(Where())
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert memory_there(Where()) == (whole // 4, "this machine for each of 4 processes")
    assert whole > 10**9


def test_the_parts_are_the_sizes_of_real_tensors(
    open_run: Callable[..., TrainingRun], config: RunConfig, pair: ModelPair
) -> None:
    with open_run(config, pair) as run:
        next(run.steps())
        buffer = sum(each.nbytes for each in run._feed._buffers.values())
        state = sum(tensor.nbytes for tensor in run.trainer.state_dict().values())
    parts = memory_parts(config.text, config.feed, [config.training], n_streams=2, d_model=pair.d_model)
    assert parts["--buffer-tokens"] == buffer
    assert state < parts["--n-latents"] < 2 * state
    copied = copied_parts(config.feed, [config.training], n_streams=2, d_model=pair.d_model)
    assert copied == {"--n-latents": state, "--buffer-tokens": buffer}
