"""What does reading a pair on NDIF cost over reading it here, when the network costs nothing?

Two random 12-layer Qwen2 models of width 512 are read at the input of layer 6 on batches of 8 x 256 ids, 4 jobs in
flight, in bf16, from a server on loopback in a process of its own; and here, with the same weights. The two ways take
turns, and either may use all cores. Figures are medians of wall time for one batch of both models: a job's work is done
in another process.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from statistics import median

import pytest
import torch
from harvest import CONFIG, LAYER, VOCAB
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from toolkit.models.pair import ModelPair
from toolkit.models.where import Where

SHAPE, ROUNDS, BATCHES, JOBS = (8, 256), 3, 6, 4
SERVER = Path(__file__).parents[1] / "ndif_server.py"


@contextmanager
def serving(folders: list[str]) -> Iterator[None]:
    """Let models be opened on a server of NDIF's kind, in a process of its own."""
    process = subprocess.Popen([sys.executable, str(SERVER), "0", *folders], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NDIF_HOST", process.stdout.readline().strip())
            patch.setenv("NDIF_API_KEY", "the-key-of-the-tests")
            yield
    finally:
        process.kill()
        process.wait()


def save(folder: str, seed: int) -> str:
    """Write a random model and its tokenizer."""
    torch.manual_seed(seed)
    Qwen2ForCausalLM(CONFIG).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    return folder


@cache
def seconds() -> dict[str, float]:
    """Measure both ways once a process: wall seconds for one batch of both models."""
    with tempfile.TemporaryDirectory() as base, tempfile.TemporaryDirectory() as distilled:
        folders = [save(base, 0), save(distilled, 1)]
        with serving(folders):
            sources = {"base": base, "distilled": distilled, "layers": [LAYER]}
            remote = ModelPair.from_pretrained(**sources, where=Where(remote=True, jobs=JOBS))
            here = ModelPair.from_pretrained(**sources, where="cpu")
            return _time_in_turn({"read: here": here, "read: NDIF on loopback": remote})


def _time_in_turn(ways: dict[str, ModelPair]) -> dict[str, float]:
    input_ids = torch.randint(VOCAB, SHAPE, generator=torch.Generator().manual_seed(0))
    rows = (input_ids, torch.ones_like(input_ids), torch.ones_like(input_ids, dtype=torch.bool))
    here, there = (pair.selected(*rows) for pair in ways.values())
    assert torch.equal(here.bfloat16(), there)
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, pair in ways.items():
            started = time.perf_counter()
            assert len(list(pair.selected_each([(None, rows)] * BATCHES))) == BATCHES
            spent[name].append((time.perf_counter() - started) / BATCHES)
    return {name: median(taken) for name, taken in spent.items()}


def ratios() -> dict[str, float]:
    """Return the rate of reading on NDIF over that of reading here."""
    here, there = seconds().values()
    return {"remote_over_local": here / there}


if __name__ == "__main__":
    print(seconds(), ratios())
