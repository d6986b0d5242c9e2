"""What does a cache save, and what do four crosscoders cost that share one stream?

Two random 12-layer Qwen2 models of width 512 are read at the input of layer 6, and BatchTopK crosscoders of 1,024
latents train on 4,096 tokens in batches of 512, as a run does, checkpoint included. Reading takes 71 MFLOP a token and
a step some 6, so harvest dominates, as on real pairs (1.5B: 3 GFLOP to the middle of both, 0.2 for 32,768 latents).
Ways: streaming, and reading a bf16 cache; four runs apart, and a sweep of the four. Figures are medians of CPU time on
one thread, reading thread included.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from datasets import Dataset
from harvest import CONFIG, LAYER
from timing import time_in_turn
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.fields import changed
from toolkit.harvest.documents import Corpus
from toolkit.models.pair import ModelPair
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.training.folder import RunFolder
from toolkit.training.streams import open_training
from toolkit.training.training_run import TrainingRun

TRAINING = TrainingConfig(tokens=4096, batch_tokens=512, n_latents=1024, k=16, k_initial=32, k_anneal_steps=4)
PLANS = {f"k-{k}": replace(TRAINING, k=k) for k in (4, 8, 16, 32)}
ROUNDS = 3


@dataclass(frozen=True)
class Bench:
    """A pair, its text, and a folder to work in."""

    folder: Path
    pair: ModelPair
    corpus: Corpus

    def train(self, *, plans: dict[str, TrainingConfig], cached: bool = False) -> None:
        """Train as a run does, perhaps on a cache, which the first such run fills."""
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        config = changed(
            RunConfig(),
            out=self.folder / "run",
            cache=self.folder / "cache" if cached else None,
            cache_dtype="bf16",
            row_length=128,
            forward_tokens=1024,
            buffer_tokens=1024,
            training=next(iter(plans.values())),
        )
        folder = RunFolder.open(config.output, config.settings())
        source = open_training(config, self.pair, self.corpus)
        with TrainingRun(config, self.pair, source, folder, plans=plans) as run:
            assert sum(1 for _ in run.steps()) == TRAINING.steps


@contextmanager
def bench() -> Iterator[Bench]:
    """Two random models saved and loaded, and documents of 128 random words."""
    with tempfile.TemporaryDirectory() as name:
        words = {f"w{i}": i for i in range(CONFIG.vocab_size)}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        sources = [f"{name}/{model}" for model in ("base", "distilled")]
        for seed, source in enumerate(sources):
            torch.manual_seed(seed)
            Qwen2ForCausalLM(CONFIG).save_pretrained(source)
            PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(source)
        pair = ModelPair.from_pretrained(base=sources[0], distilled=sources[1], layers=[LAYER], where="cpu")
        ids = torch.randint(CONFIG.vocab_size, (120, 128), generator=torch.Generator().manual_seed(0))
        texts = Dataset.from_dict({"text": [" ".join(f"w{i}" for i in row) for row in ids.tolist()]})
        documents = texts.to_iterable_dataset()
        yield Bench(Path(name), pair, Corpus(train=documents, held_out=documents, origin={"source": "random words"}))


@cache
def seconds() -> dict[str, float]:
    """Measure each way once a process, after a round that fills the cache: CPU seconds for 4,096 tokens."""
    with bench() as on:
        one = {"k-16": TRAINING}
        ways: dict[str, Callable[[], object]] = {
            "cache: run that streams": partial(on.train, plans=one),
            "cache: run that reads it": partial(on.train, plans=one, cached=True),
            "cache: four runs apart": lambda: [on.train(plans={name: plan}) for name, plan in PLANS.items()],
            "cache: sweep of the four": partial(on.train, plans=PLANS),
        }
        return time_in_turn(ways, ROUNDS)


def ratios() -> dict[str, float]:
    """Return the rate of a cached run over that of streaming, and the sweep's time over that of four runs."""
    streamed, cached, apart, sweep = seconds().values()
    return {"cached_over_streaming": streamed / cached, "sweep_over_four_runs": sweep / apart}
