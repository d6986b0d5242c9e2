"""How much faster are two processes on two cores than one process on one core, over a whole run?

Two random 12-layer Qwen2 models of width 512 are read at layer 6 and a crosscoder of 2,048 latents is trained on them,
by one process and by two that share out each batch, each on one thread. Both read the same two shards of the text, so
they end in the same weights but for the order of sums. Counted is wall time from the first step on, reading and
training, for nothing else runs on a core meanwhile.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from harvest import CONFIG, VOCAB
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

STEPS, BATCH, ROW = 12, 2048, 256
ROUNDS = 3


@cache
def seconds() -> dict[str, float]:
    """Measure each way once a process: wall seconds a step, the better of three runs that take turns."""
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder))
        runs = [{size: _run(Path(folder), size) for size in (1, 2)} for _ in range(ROUNDS)]
    return {f"run: {size} process{'es' if size > 1 else ''}, a step": min(run[size] for run in runs) for size in (1, 2)}


def ratios() -> dict[str, float]:
    """Return the tokens a second of two processes over those of one."""
    one, two = seconds().values()
    return {"two_ranks_over_one": one / two}


def _prepare(folder: Path) -> None:
    """Save a pair of random models, and text for more than the run."""
    for name in ("base", "distilled"):
        Qwen2ForCausalLM(CONFIG).save_pretrained(folder / name)
        words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w0"))
        words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0").save_pretrained(folder / name)
    ids = torch.randint(VOCAB, (2 * STEPS * BATCH // ROW, ROW), generator=torch.Generator().manual_seed(0))
    texts = [" ".join(f"w{i}" for i in row) for row in ids.tolist()]
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def _run(folder: Path, size: int) -> float:
    """Train in `size` processes of one thread each; return the first one's seconds a step after the first step."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1"}
    environment |= {"MASTER_PORT": str(29_600 + os.getpid() % 1000), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, __file__, str(folder)]
    processes = [
        subprocess.Popen(command, env=environment | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(size)
    ]
    said = [process.communicate()[0] for process in processes]
    assert not any(process.returncode for process in processes)
    return float(said[0])


def main(folder: Path) -> None:
    """Train as one of the processes, and print the seconds that a step took."""
    from toolkit.settings.crosscoder_run import parse_command_line
    from toolkit.training.folder import RunFolder
    from toolkit.training.ranks import open_ranks, share_out
    from toolkit.training.streams import open_text, open_training
    from toolkit.training.training_run import TrainingRun

    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # the reading thread shares the core, whether there is another one or not
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(os.environ["RANK"]) % len(cores)]})
    settings = {
        "base": folder / "base", "distilled": folder / "distilled", "data": folder / "text.jsonl", "shards": 2,
        "tokens": STEPS * BATCH, "batch-tokens": BATCH, "buffer-tokens": 2 * BATCH, "row-length": ROW,
        "forward-tokens": 4 * ROW, "n-latents": 2048, "k": 32, "k-initial": 32, "checkpoint-steps": STEPS + 1,
    }  # fmt: skip
    arguments = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    with open_ranks() as ranks, tempfile.TemporaryDirectory() as out:
        config = parse_command_line([*arguments, "--out", out])
        config = replace(config, feed=share_out(config.feed, config.output, ranks))
        pair = config.models.open(config.where)
        corpus = open_text(config.text, config.seed)
        sources = open_training(config, pair, corpus, ranks)
        with TrainingRun(config, pair, sources, RunFolder(path=Path(out)), ranks=ranks) as run:
            steps = run.steps()
            next(steps)
            started = time.perf_counter()
            for _ in range(STEPS - 2):  # the last one is followed by a checkpoint
                next(steps)
            print((time.perf_counter() - started) / (STEPS - 2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
