"""Tiny random models of every known architecture, saved as transformers saves them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
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
    Qwen3Config,
)

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
    "gpt2": GPT2Config(n_embd=32, n_layer=4, n_head=4, vocab_size=50, n_positions=64),
    "gpt_neox": GPTNeoXConfig(**SHAPE),
}


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
