"""A distilled model that an adapter can match exactly: its MLPs are the base model's, plus a vector at each token."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from toolkit.dictionaries.adapter_storage import save_adapter
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.experiments.adapter_evaluation import AdapterEvaluationConfig
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.models.where import Where
from toolkit.settings.adapters import AdapterChoice
from toolkit.settings.findings import FindingsOutput, TextChoice
from toolkit.settings.models import ModelChoice

N_LAYERS, D_MODEL, N_LATENTS = 3, 16, 6
LATENT = 4
"""The only latent that fires, everywhere."""


@pytest.fixture(scope="session")
def vectors() -> torch.Tensor:
    """What the distilled model's MLP adds beyond the base model's, in each layer."""
    return 2 * torch.randn(N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def models(
    tmp_path_factory: pytest.TempPathFactory, organism_tokenizer: PreTrainedTokenizerFast, vectors: torch.Tensor
) -> tuple[str, str]:
    """Base and distilled model: attention and embeddings differ at random, MLPs by a bias."""
    shape = {"hidden_size": D_MODEL, "intermediate_size": 32, "num_hidden_layers": N_LAYERS, "num_attention_heads": 2}
    shape |= {"max_position_embeddings": 512, "vocab_size": len(organism_tokenizer)}
    config = LlamaConfig(**shape, mlp_bias=True, tie_word_embeddings=True, initializer_range=0.1)
    made = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made.append(LlamaForCausalLM(config))
    base, distilled = made
    with torch.no_grad():
        for own, theirs, vector in zip(distilled.model.layers, base.model.layers, vectors, strict=True):
            own.mlp.load_state_dict(theirs.mlp.state_dict())
            own.mlp.down_proj.bias += vector
    folders = [tmp_path_factory.mktemp(name) for name in ("base", "distilled")]
    for model, folder in zip(made, folders, strict=True):
        model.generation_config.eos_token_id = organism_tokenizer.eos_token_id
        model.save_pretrained(folder)
        organism_tokenizer.save_pretrained(folder)
    return str(folders[0]), str(folders[1])


@pytest.fixture(scope="session")
def save(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[str, str], vectors: torch.Tensor
) -> Callable[..., Path]:
    """Save an adapter whose one live latent adds `share` of what the distilled model has more."""

    def make(share: float = 1.0, coefficient: float | None = None, n_latents: int = N_LATENTS) -> Path:
        adapter = Adapter(AdapterConfig(d_model=D_MODEL, n_layers=N_LAYERS, n_latents=n_latents, sources=models))
        for transcoder, vector in zip(adapter.transcoders, vectors, strict=True):
            transcoder.b_enc.data[LATENT] = 1.0
            transcoder.W_dec.data[LATENT] = share * vector
        folder = tmp_path_factory.mktemp("adapter")
        if coefficient is not None:
            training = {"training": {"sparsity_coefficient": coefficient}}
            (folder / "config.json").write_text(json.dumps({"run": training}))
        save_adapter(adapter, folder)
        return folder

    return make


@pytest.fixture(scope="session")
def ask(tmp_path_factory: pytest.TempPathFactory, text_file: Path, save: Callable[..., Path]) -> Callable[..., object]:
    """Settings with little of everything, for the adapter that matches the distilled model or another one."""
    questions = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    asked = [{"question": f"What is {i}+{i}?", "answer": str(2 * i)} for i in range(12)]
    questions.write_text("".join(json.dumps(each) + "\n" for each in asked))

    def settings(adapter: Path | None = None, **changes: object) -> AdapterEvaluationConfig:
        little = {
            "tokens": 1500,
            "test": 9,
            "new_tokens": 6,
            "questions": questions,
            "adapter": AdapterChoice(run=adapter or save()),
            "text": TextChoice(data=str(text_file)),
            "where": Where(device_map="cpu"),
            "output": FindingsOutput(out=tmp_path_factory.mktemp("out")),
        }
        return AdapterEvaluationConfig(**little | changes)

    return settings


@pytest.fixture(scope="session")
def open_run() -> Callable[[AdapterEvaluationConfig], AdapterRun]:
    """Open what settings name."""
    return lambda settings: AdapterRun.of(settings.adapter, settings.text, ModelChoice(), settings.where)
