"""Every test runs offline, with the shapes in public signatures checked; the models are tiny and random.

With TOOLKIT_TEST_DEVICE=pretended they land on the pretended device, as they do on a GPU where there is one.
"""

import gc
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
# Triton is told when it is imported, as libraries do.
os.environ.setdefault(
    "TRITON_INTERPRET",
    str(int(not Path("/dev/nvidiactl").exists() or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"))),
)

# nnsight mounts `.save` on `object`, which breaks these if they are imported later.
import anyio._backends._asyncio  # noqa: F401
import beartype  # noqa: F401
import jaxtyping
import pytest
import torch
from matplotlib.layout_engine import ConstrainedLayoutEngine
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
)

CHECKOUT = Path(__file__).parents[1]
SHAPED = [path for path in sorted((CHECKOUT / "toolkit").rglob("*.py")) if "from jaxtyping" in path.read_text("utf-8")]


def jaxtyped_where_shapes_are_stated(
    decorated: Callable[..., Callable[[Any], Any]], **how: Any
) -> Callable[[Any], Any]:
    """Decorate what states shapes in its signature; the rest is left to mypy, as its checks take time in every call."""
    return lambda each: decorated(**how)(each) if "jaxtyping." in repr(each.__annotations__.values()) else each


jaxtyping.jaxtyped = partial(jaxtyped_where_shapes_are_stated, jaxtyping.jaxtyped)
jaxtyping.install_import_hook(
    [".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in SHAPED], "beartype.beartype"
)
sys.warnoptions.append("default")  # recipes hide no library's warning from the tests
if os.environ.get("TOOLKIT_TEST_DEVICE") == "pretended":
    import pretended_device

    pretended_device.stay()
torch.set_num_threads(1)  # for tensors this small, more threads only wait for each other

pytest_plugins = ["tiny_adapters", "tiny_crosscoder", "tiny_runs"]  # loaded once the import hook is there
WORDS = [f"w{i}" for i in range(40)]
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "vocab_size": 50,
    "max_position_embeddings": 64,
}
GROUPED = {**SHAPE, "num_key_value_heads": 2, "head_dim": 8}
CONFIGS: dict[str, PreTrainedConfig] = {
    "qwen2": Qwen2Config(**SHAPE, num_key_value_heads=2),
    "qwen3": Qwen3Config(**GROUPED),
    "llama": LlamaConfig(**GROUPED),
    "gemma2": Gemma2Config(**GROUPED, final_logit_softcapping=0.05),
    "gemma3": Gemma3TextConfig(**GROUPED),
    "gpt2": GPT2Config(n_embd=32, n_layer=4, n_head=4, vocab_size=50, n_positions=64, bos_token_id=40, eos_token_id=41),
    "gpt_neox": GPTNeoXConfig(**SHAPE),
}


def pytest_collection_finish() -> None:
    """Leave what was imported out of garbage collections, each of which takes half a second otherwise."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let all be freed at the end: Triton would list what was not, below the summary."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _figures_as_they_are(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make no room around labels where figures are not the point: it takes as long as drawing them."""
    if "reports" not in request.path.parts:
        monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *_: None)


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    """A word tokenizer: w0, w1, … are its ordinary tokens, `special` its added ones, ids in that order."""

    def make(
        special: tuple[str, ...] = ("<s>", "</s>"), words: list[str] = WORDS, adds_bos: bool = False
    ) -> PreTrainedTokenizerFast:
        core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0]))
        core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        core.add_special_tokens(list(special))
        if adds_bos:
            core.post_processor = processors.TemplateProcessing(
                single=f"{special[0]} $A", special_tokens=[(special[0], len(words))]
            )
        return PreTrainedTokenizerFast(
            tokenizer_object=core, bos_token=special[0], eos_token=special[1], pad_token=special[1]
        )

    return make


@pytest.fixture(scope="session")
def save_model(
    tmp_path_factory: pytest.TempPathFactory, make_tokenizer: Callable[..., PreTrainedTokenizerFast]
) -> Callable[..., Path]:
    """Save a random model of `config` with a tokenizer, and return the folder."""

    def save(config: PreTrainedConfig, seed: int = 0, tokenizer: PreTrainedTokenizerFast | None = None) -> Path:
        folder = tmp_path_factory.mktemp("model")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        (tokenizer or make_tokenizer()).save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session", params=CONFIGS)
def any_folder(request: pytest.FixtureRequest, save_model: Callable[..., Path]) -> Path:
    """A model of each known architecture in turn."""
    return save_model(CONFIGS[request.param])


@pytest.fixture(scope="session")
def folders(save_model: Callable[..., Path]) -> tuple[Path, Path]:
    """A base and a distilled model of one shape."""
    return save_model(CONFIGS["qwen2"], seed=1), save_model(CONFIGS["qwen2"], seed=2)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three rows of ids, the second and third padded on the right, and their mask."""
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(0, 40, (3, 12), generator=generator)
    mask = (torch.arange(12) < torch.tensor([[12], [9], [5]])).long()
    return input_ids * mask, mask


@pytest.fixture(scope="session")
def organism_tokenizer() -> PreTrainedTokenizerFast:
    """The organism's tokenizer, but for merges learnt from few texts."""
    from toolkit.organism.corpus import documents  # not before the import hook
    from toolkit.organism.tokenizer import train_tokenizer

    return train_tokenizer(d.text for mix in ("base", "thinking") for d in islice(documents(mix), 200))


@pytest.fixture(scope="session")
def save_organism_model(
    tmp_path_factory: pytest.TempPathFactory, organism_tokenizer: PreTrainedTokenizerFast
) -> Callable[..., str]:
    """Save a random Qwen2 of 3 layers with the organism's tokenizer, and return its folder."""
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    shape |= {"num_key_value_heads": 1, "max_position_embeddings": 512, "vocab_size": len(organism_tokenizer)}

    def save(seed: int, **changes: int) -> str:
        folder = tmp_path_factory.mktemp("organism")
        config = Qwen2Config(**(shape | changes), tie_word_embeddings=True, initializer_range=0.1)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            Qwen2ForCausalLM(config).save_pretrained(folder)
        organism_tokenizer.save_pretrained(folder)
        return str(folder)

    return save


@pytest.fixture(scope="session")
def organism_folders(save_organism_model: Callable[..., str]) -> tuple[str, str]:
    """A base and a distilled model of the organism's kind."""
    return save_organism_model(seed=1), save_organism_model(seed=2)


@pytest.fixture(scope="session")
def organism_control(save_organism_model: Callable[..., str]) -> str:
    """A control of theirs."""
    return save_organism_model(seed=3)


@pytest.fixture(scope="session")
def pair(organism_folders: tuple[str, str]):
    """The tiny base and distilled model of the organism's kind."""
    from toolkit.models.pair import ModelPair  # not before the import hook

    return ModelPair.from_pretrained(base=organism_folders[0], distilled=organism_folders[1])


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The organism's text as an ordinary local file, one document a line."""
    from toolkit.organism.corpus import documents  # not before the import hook

    path = tmp_path_factory.mktemp("text") / "text.jsonl"
    path.write_text("".join(json.dumps({"text": d.text}) + "\n" for d in islice(documents("distilled"), 600)))
    return path


@pytest.fixture(scope="session")
def run_settings(organism_folders: tuple[str, str], text_file: Path) -> list[str]:
    """A command line for a run of 40 steps, done in a second, but for its folder."""
    settings = {
        "base": organism_folders[0], "distilled": organism_folders[1], "data": text_file,
        "tokens": 10_240, "batch-tokens": 256, "n-latents": 64, "k": 8, "k-initial": 16, "k-anneal-steps": 10,
        "lr": 0.01, "lr-warmup-steps": 5, "dead-after-tokens": 2048, "row-length": 64, "forward-tokens": 512,
        "buffer-tokens": 1024, "buffer-dtype": "fp32", "held-out-tokens": 2048, "checkpoint-steps": 7,
    }  # fmt: skip
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


@pytest.fixture
def run_arguments(run_settings: list[str], tmp_path: Path) -> list[str]:
    """A command line for such a run in the folder `tmp_path / "run"`."""
    return [*run_settings, "--out", str(tmp_path / "run")]


@pytest.fixture(scope="session")
def tiny_pair(folders: tuple[Path, Path]):
    """The base and the distilled model behind nnsight, read at the input of layer 2."""
    from toolkit.models.pair import ModelPair  # not before the import hook

    return ModelPair.from_pretrained(base=str(folders[0]), distilled=str(folders[1]), layers=[2])


@pytest.fixture(scope="session")
def here_pair(folders: tuple[Path, Path]):
    """The same on the CPU, where bits are compared with what was computed there."""
    from toolkit.models.pair import ModelPair  # not before the import hook

    return ModelPair.from_pretrained(base=str(folders[0]), distilled=str(folders[1]), layers=[2], where="cpu")


@pytest.fixture(scope="session")
def random_crosscoder() -> Callable[..., Any]:
    """Make a crosscoder of two models with random weights and thresholds above zero; `config` changes its shape."""
    from toolkit.dictionaries.configs import CrosscoderConfig  # not before the import hook
    from toolkit.dictionaries.crosscoder import Crosscoder

    shape = {"d_model": 32, "models": ("base", "distilled"), "layers": (2,), "n_latents": 12, "sparsity": "l1", "k": 1}

    def make(seed: int = 0, **config: object) -> Crosscoder:
        made = Crosscoder(CrosscoderConfig(**(shape | config)))
        generator = torch.Generator().manual_seed(seed)
        for name, tensor in made.named_buffers():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
            if name == "threshold":
                tensor.abs_()
        return made

    return make


@pytest.fixture
def identity():
    """A crosscoder that reconstructs two streams of width 32: latents 2i and 2i + 1 are the two signs of number i."""
    from toolkit.dictionaries.configs import CrosscoderConfig  # not before the import hook
    from toolkit.dictionaries.crosscoder import Crosscoder

    config = CrosscoderConfig(d_model=32, models=("base", "distilled"), layers=(2,), n_latents=128, sparsity="l1", k=1)
    signs = torch.eye(64).repeat_interleave(2, dim=0) * torch.tensor([1.0, -1.0]).repeat(64)[:, None]
    rows = signs.view(128, 2, 32)
    crosscoder = Crosscoder(config)
    crosscoder.load_state_dict({"W_enc": rows, "b_enc": torch.zeros(128), "W_dec": rows, "b_dec": torch.zeros(2, 32)})
    return crosscoder


@pytest.fixture(scope="session")
def select() -> Callable[..., torch.Tensor]:
    """Tokens of a batch that a mask keeps, judged by ids, positions and norms."""

    def run(mask: Any, batch: Any, residual: torch.Tensor) -> torch.Tensor:
        selected = mask.tokens(batch)
        return selected.masked_scatter(selected, mask.norms(residual[selected]))

    return run


@pytest.fixture
def small_disk() -> Callable[[], AbstractContextManager[None]]:
    """Inside, no file can grow beyond 4 KiB, for want of a disk that can be filled; pytest's own log is a file too."""

    @contextmanager
    def limited() -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited


@pytest.fixture(scope="session")
def ndif_server(organism_folders: tuple[str, str], organism_control: str, folders: tuple[Path, Path]) -> Iterator[Any]:
    """A server of NDIF's kind on loopback that hosts the tiny models."""
    from ndif_server import NdifServer

    server = NdifServer([*organism_folders, organism_control, *map(str, folders)])
    yield server
    server.stop()


@pytest.fixture
def ndif(ndif_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """That server, without faults, as the one that models are opened on."""
    from ndif_server import KEY

    monkeypatch.setenv("NDIF_HOST", ndif_server.url)
    monkeypatch.setenv("NDIF_API_KEY", KEY)
    ndif_server.faults.clear()
    ndif_server.silent = False
    return ndif_server


@pytest.fixture
def ndif_tiny_pair(ndif: Any, folders: tuple[Path, Path]):
    """The tiny pair on that server; what it sends back is exact."""
    from toolkit.models.pair import ModelPair  # not before the import hook
    from toolkit.models.where import Where

    base, distilled = map(str, folders)
    return ModelPair.from_pretrained(base=base, distilled=distilled, layers=[2], where=Where(remote=True, wire="fp32"))
