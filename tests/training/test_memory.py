import dataclasses
from collections.abc import Callable

import pytest
import torch

from toolkit.dictionaries.collectives import Ranks
from toolkit.fields import changed
from toolkit.models.pair import ModelPair
from toolkit.models.where import Where
from toolkit.settings.adapter_run import parse_command_line as adapter_settings
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS, PAPER_DEFAULTS, RunConfig
from toolkit.training import memory
from toolkit.training.costs import pinned
from toolkit.training.memory import copied_parts, memory_parts, memory_there, require_adapter_memory, require_memory
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
    said = r"all settings take 10.4 GB, 4.2 GB of it for the copy that a checkpoint is written from, but"
    with pytest.raises(ValueError, match=said):
        require_memory(real, [real.training])


@pytest.fixture
def beside_a_gpu(gigabytes: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Train on a GPU of 8 GB, and give the machine beside it so much memory."""

    def give(size: float) -> None:
        monkeypatch.setattr(memory, "this_machine", lambda: (int(size * 1e9), "this machine"))

    gigabytes(8)
    monkeypatch.setattr(memory, "gpu_of", lambda where: torch.device("cuda"))
    return give


def test_beside_a_gpu_the_copy_needs_pinned_memory_of_the_machine(beside_a_gpu: Callable[[float], None]) -> None:
    real = changed(PAPER_DEFAULTS, pair="qwen-1.5b")
    beside_a_gpu(6)
    require_memory(real, [real.training])
    beside_a_gpu(5)  # enough for the checkpoint, which is smaller than its copy
    said = (
        r"^--n-latents 32768 takes 3.2 GB of memory, and all settings take 5.6 GB, all of it for the copy that a"
        " checkpoint is written from, but this machine has 5.0 GB: lower --n-latents$"
    )
    with pytest.raises(ValueError, match=said):
        require_memory(real, [real.training])
    require_memory(real, [real.training], Ranks(size=2))


def test_the_copy_of_an_adapter_counts_on_this_machine(beside_a_gpu: Callable[[float], None]) -> None:
    adapter = adapter_settings(["--pair", "qwen-1.5b", "--n-latents", "5000"])
    # 28 layers of two matrices of 5,000 × 1,536 in fp32: 6.9 GB with gradients and two moments; 33.6 MB a copy of each
    beside_a_gpu(5.7)
    require_adapter_memory(adapter)
    beside_a_gpu(5.6)
    said = (
        "takes 5.6 GB of memory, all of it for the copy that a checkpoint is written from, but this machine has 5.6 GB"
    )
    with pytest.raises(ValueError, match=said):
        require_adapter_memory(adapter)
    require_adapter_memory(adapter, Ranks(size=2))


def test_the_copy_of_an_adapter_counts_beside_it_on_a_cpu(gigabytes: Callable[[float], None]) -> None:
    adapter = adapter_settings(["--pair", "qwen-1.5b", "--n-latents", "5000"])
    gigabytes(13)
    require_adapter_memory(adapter)
    gigabytes(12)
    said = "^--n-latents 5000 takes 12.0 GB of memory, 5.2 GB of it for the copy that a checkpoint is written from, but"
    with pytest.raises(ValueError, match=said):
        require_adapter_memory(adapter)


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
        steps = run.steps()
        next(steps)
        buffer = sum(each.nbytes for each in run._feed._buffers.values())
        state = sum(tensor.nbytes for tensor in run.trainer.state_dict().values())
        run.save()
        copies = {name: memory.nbytes for name, memory in run._saver._copies._memory.items()}
        steps.close()
    shapes = {"n_streams": 2, "d_model": pair.d_model}
    parts = memory_parts(config.text, config.feed, [config.training], **shapes)
    assert parts["--buffer-tokens"] == buffer
    assert state < parts["--n-latents"] < 2 * state
    plain, rounded = (
        copied_parts(config.text, config.feed, [config.training], in_pinned_memory=whether, **shapes)
        for whether in (False, True)
    )
    of_state = [size for name, size in copies.items() if name.startswith("crosscoder/")]
    assert (plain["--n-latents"], rounded["--n-latents"]) == (sum(of_state), sum(map(pinned, of_state)))
    assert copies["storage of shard 0"] <= plain["--buffer-tokens"] == buffer
    assert copies["pending of shard 0"] <= plain["--forward-tokens"]


@pytest.mark.parametrize(("size", "taken"), [(0, 0), (1, 1), (8, 8), (9, 16), (402_653_184, 536_870_912)])
def test_pinned_memory_is_taken_by_powers_of_two(size: int, taken: int) -> None:
    assert pinned(size) == taken


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_torch_takes_as_much_pinned_memory() -> None:
    torch.cuda.init()
    before = torch.cuda.host_memory_stats()["allocated_bytes.current"]
    held = torch.empty(9_000_000, dtype=torch.uint8, pin_memory=True)
    assert torch.cuda.host_memory_stats()["allocated_bytes.current"] - before == pinned(held.nbytes)
