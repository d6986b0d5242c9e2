from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.spawn import ProcessContext
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM
from watching import Diary

import toolkit.organism.training as training
from toolkit.organism.corpus import documents
from toolkit.organism.packing import ROW_LENGTH, Rows, pack
from toolkit.organism.training import ROWS_A_STEP, PhaseConfig, new_model, train_phase
from toolkit.tracking import watched_by

STEP_TOKENS = ROWS_A_STEP * ROW_LENGTH


def phase(steps: int) -> PhaseConfig:
    tokens = steps * STEP_TOKENS
    return PhaseConfig(tokens=tokens, matrix_lr=0.01, other_lr=0.01, seed=0, warmup_steps=1, flat_share=0.5)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    config = PhaseConfig(tokens=100 * STEP_TOKENS, matrix_lr=1.0, other_lr=1.0, seed=0, warmup_steps=10)
    factors = [config.lr_factor(step) for step in range(config.steps + 1)]
    assert config.steps == 100
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10:31] == [1.0] * 21
    assert factors[65] == pytest.approx(1 - 0.5 * 0.97)
    assert factors[100] == pytest.approx(0.03)


def test_a_new_model_is_what_its_seed_says() -> None:
    first, again, other = (new_model(300, seed).model.embed_tokens.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


class Ended(ProcessContext):
    """Processes that have ended."""

    def __init__(self, _: None) -> None: ...

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        return True


@pytest.fixture(params=["here", pytest.param("spawned", marks=pytest.mark.slow)])
def process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Whether the worker runs in this process, or as in earnest in one of its own."""
    threads = torch.get_num_threads()
    if request.param == "here":
        monkeypatch.setattr(training, "spawn", lambda worker, args, nprocs, join: Ended(worker(0, *args)))
    yield request.param
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("process")
def test_two_steps_resumed_are_four_in_one_go(
    save_organism_model: Callable[..., str], organism_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Both phases keep the learning rate for their first half, so the short one is the long one's beginning."""
    rows = pack(documents("base"), organism_tokenizer, 4 * STEP_TOKENS, seed=0)
    start = save_organism_model(seed=6)

    def train(steps: int, folder: str) -> dict[str, torch.Tensor]:
        model = Qwen2ForCausalLM.from_pretrained(start, dtype=torch.float32)
        trained = train_phase(model, rows, phase(steps), tmp_path / folder, processes=1)
        return {name: tensor.clone() for name, tensor in trained.state_dict().items()}

    diary = Diary()
    with watched_by(diary):
        short = train(2, "resumed")
        whole, resumed = train(4, "whole"), train(4, "resumed")
    assert diary.counts() == [("training", 2, 2), ("training", 4, 4), ("training", 2, 2)]
    name = "model.layers.1.mlp.down_proj.weight"
    assert not torch.equal(short[name], whole[name])
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert [(tmp_path / name / "log.jsonl").read_text().count("\n") for name in ("resumed", "whole")] == [2, 1]


def test_rows_are_picked_by_number() -> None:
    rows = Rows(torch.arange(6).view(3, 2), torch.zeros(3, 2, dtype=torch.int64), torch.ones(3, 2))
    assert rows.select(torch.tensor([2, 0])).input_ids.tolist() == [[4, 5], [0, 1]]
