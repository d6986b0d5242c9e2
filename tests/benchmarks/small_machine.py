"""What does harvesting a real pair take on one small machine? python tests/benchmarks/small_machine.py

Writes two checkpoints of random bf16 weights, of the shape of Qwen2.5-1.5B or 7B, layer by layer, and harvests the
input of layer 14 of 28 from both, each way in a process of its own on the same text, with the files out of the page
cache at first. Peak resident memory is VmHWM, which counts pages of mapped files too; bytes read are those of
/proc/self/io, from opening the pair to the last activation. Weights are bf16 where float32 is not said, and ways of
one type must give the same activations bit for bit. Exits with 1 where they do not, or where half of the 1.5B pair
takes more than 5 GB.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from toolkit.harvest.activations import ActivationStream
from toolkit.harvest.tokens import TokenMask, TokenStream
from toolkit.models.pair import ModelPair
from toolkit.models.where import Where

SHAPES = {
    "1.5b": {"hidden_size": 1536, "num_attention_heads": 12, "num_key_value_heads": 2, "intermediate_size": 8960,
             "vocab_size": 151_936},
    "7b": {"hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18_944,
           "vocab_size": 152_064},
}  # fmt: skip
LAYERS, SITE, ROW_LENGTH, WORDS = 28, 14, 256, 4096
LIMIT = ("1.5b", "half", 5e9)


def ways(shape: str) -> dict[str, dict[str, Any]]:
    """What is measured: settings of the pair, by name."""
    little, more = {"1.5b": ("1GB", "2GB"), "7b": ("4GB", "8GB")}[shape]
    half: dict[str, Any] = {"depth": SITE}
    by_turns: dict[str, Any] = half | {"sequential": True}
    return {
        "whole models": {},
        "half": half,
        f"whole, --max-memory {more}": {"max_memory": more},
        f"half, --max-memory {little}": half | {"max_memory": little},
        "half, --sequential": by_turns,
        f"half, --sequential, --max-memory {little}": by_turns | {"max_memory": little},
        "half, float32": half | {"dtype": "float32"},
        f"half, float32, --max-memory {more}": half | {"dtype": "float32", "max_memory": more},
    }


def write_checkpoint(folder: Path, shape: str, seed: int, *, tied: bool) -> None:
    """Write random weights, one file a layer, so that no more than a layer is in memory."""
    config = Qwen2Config(
        **SHAPES[shape], num_hidden_layers=LAYERS, tie_word_embeddings=tied, max_position_embeddings=4096,
        dtype=torch.bfloat16,
    )  # fmt: skip
    with torch.device("meta"):
        model = Qwen2ForCausalLM(config)
    parts: dict[str, dict[str, torch.Size]] = defaultdict(dict)
    for name, weight in model.named_parameters():  # tied weights have one name
        parts["-".join(name.split(".")[:3])][name] = weight.shape
    generator, total = torch.Generator().manual_seed(seed), 0
    for part, weights in parts.items():
        tensors = {name: _random(name, size, generator) for name, size in weights.items()}
        save_file(tensors, folder / f"{part}.safetensors", metadata={"format": "pt"})
        total += sum(tensor.nbytes for tensor in tensors.values())
    index = {name: f"{part}.safetensors" for part, weights in parts.items() for name in weights}
    head = {"metadata": {"total_size": total}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(head))
    config.save_pretrained(folder)
    vocabulary = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w0"))
    vocabulary.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=vocabulary, pad_token="w0", eos_token="w0").save_pretrained(folder)


def _random(name: str, size: torch.Size, generator: torch.Generator) -> torch.Tensor:
    weight = torch.empty(size, dtype=torch.bfloat16)
    return weight.fill_(1) if "norm" in name else weight.normal_(std=0.02, generator=generator)


def texts(tokens: int) -> Iterator[str]:
    """Documents of random words, `tokens` tokens of them."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(tokens // ROW_LENGTH):
        yield " ".join(f"w{i}" for i in torch.randint(1, WORDS, (ROW_LENGTH,), generator=generator).tolist())


def measure(folder: Path, settings: dict[str, Any], tokens: int, batch_tokens: int) -> dict[str, Any]:
    """Harvest in this process, which must be a fresh one."""
    before, started = _io(), time.perf_counter()
    pair = ModelPair.from_pretrained(
        base=str(folder / "base"), distilled=str(folder / "distilled"), layers=[SITE],
        where=Where(device_map="cpu", **({"dtype": "bfloat16"} | settings)),
    )  # fmt: skip
    opened = time.perf_counter()
    after_opening = _io()
    documents = Dataset.from_dict({"text": list(texts(tokens))}).to_iterable_dataset()
    batches = TokenStream(documents, pair.tokenizer, row_length=ROW_LENGTH, batch_tokens=batch_tokens, seed=0)
    mask = TokenMask(special_ids=frozenset(), keep_position_0=False, outlier_factor=float("inf"))
    digest, kept = hashlib.sha256(), 0
    for chunk in ActivationStream(pair, batches, mask):
        digest.update(chunk.view(torch.uint8).numpy())
        kept += len(chunk)
    seconds = time.perf_counter() - opened
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "peak_bytes": 1024 * int(status["VmHWM"].split()[0]),
        "anonymous_bytes_at_the_end": 1024 * int(status["RssAnon"].split()[0]),
        "seconds_to_open": opened - started,
        "bytes_read_to_open": after_opening - before,
        "bytes_read": _io() - before,
        "tokens_per_second": kept / seconds,
        "sha256": digest.hexdigest(),
    }


def _io() -> int:
    """Bytes that this process had read from the disk."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["read_bytes"])


def forget(folder: Path) -> None:
    """Put the files out of the page cache."""
    for path in folder.rglob("*.safetensors"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def measure_all(folder: Path, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Every way in turn, each in a process of its own."""
    measured = {}
    settings = ways(arguments.shape)
    for way in arguments.ways or settings:
        forget(folder)
        command = [sys.executable, __file__, "--measure", json.dumps(settings[way]), "--folder", str(folder)]
        command += ["--tokens", str(arguments.tokens), "--batch-tokens", str(arguments.batch_tokens)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        measured[way] = json.loads(said.splitlines()[-1])
        print(f"{way}: {measured[way]}", flush=True)
    return measured


def show(measured: dict[str, dict[str, Any]], shape: str) -> bool:
    """Print a table; return whether all is as it must be."""
    table = Table("way", "peak GB", "GB read", "of it to open", "s to open", "tokens/s", "same bits", box=None)
    same = {way: _same(way, measured, ways(shape)) for way in measured}
    for way, each in measured.items():
        sizes = [f"{each[name] / 1e9:.2f}" for name in ("peak_bytes", "bytes_read", "bytes_read_to_open")]
        rates = [f"{each[name]:.1f}" for name in ("seconds_to_open", "tokens_per_second")]
        table.add_row(way, *sizes, *rates, "yes" if same[way] else "[red]NO")
    Console().print(table)
    limited_shape, limited_way, limit = LIMIT
    within = shape != limited_shape or measured.get(limited_way, {"peak_bytes": 0})["peak_bytes"] <= limit
    return within and all(same.values())


def _same(way: str, measured: dict[str, dict[str, Any]], settings: dict[str, dict[str, Any]]) -> bool:
    """Whether the activations are those of the first way that has its type."""
    first = next(other for other in measured if settings[other].get("dtype") == settings[way].get("dtype"))
    return bool(measured[way]["sha256"] == measured[first]["sha256"])


def main() -> None:
    """Write the checkpoints, measure, print, and remove them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="1.5b")
    parser.add_argument("--folder", type=Path, help="where to put the checkpoints: 7 GB for 1.5b, 31 GB for 7b")
    parser.add_argument("--tokens", type=int, default=4096, help="tokens to read with both models")
    parser.add_argument("--batch-tokens", type=int, default=1024, help="tokens of a forward pass")
    names = list(dict.fromkeys(way for shape in SHAPES for way in ways(shape)))
    parser.add_argument("--ways", nargs="*", choices=names, help="what to measure of that shape; default: all")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        settings = json.loads(arguments.measure)
        print(json.dumps(measure(arguments.folder, settings, arguments.tokens, arguments.batch_tokens)))
        return
    if strange := set(arguments.ways or ()) - ways(arguments.shape).keys():
        parser.error(
            f"--ways {sorted(strange)}: not of the {arguments.shape} shape, which has {list(ways(arguments.shape))}"
        )
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        for seed, (role, tied) in enumerate({"base": True, "distilled": False}.items()):
            (Path(name) / role).mkdir()
            write_checkpoint(Path(name) / role, arguments.shape, seed, tied=tied and arguments.shape == "1.5b")
        measured = measure_all(Path(name), arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if show(measured, arguments.shape) else 1)


if __name__ == "__main__":
    main()
