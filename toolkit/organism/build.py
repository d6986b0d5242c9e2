"""Builds the organism: a base model, the distilled model, and a control with as much extra training."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from toolkit.artifacts import read_json_object, sha256, write_json
from toolkit.organism.corpus import Mix, documents
from toolkit.organism.packing import pack
from toolkit.organism.tokenizer import FROZEN_TOKENIZER, load_tokenizer
from toolkit.organism.training import PhaseConfig, new_model, train_phase
from toolkit.outputs import Claim, OutputFolder

BASE = PhaseConfig(tokens=9_216_000, matrix_lr=0.005, other_lr=0.0025, seed=1)
DISTILLED = PhaseConfig(tokens=4_352_000, matrix_lr=0.003, other_lr=0.0015, seed=2)
CONTROL = PhaseConfig(tokens=4_352_000, matrix_lr=0.003, other_lr=0.0015, seed=3)
# Each model: its training, the text it reads, and the model it starts from.
MODELS: dict[str, tuple[PhaseConfig, Mix, str | None]] = {
    "base": (BASE, "base", None),
    "distilled": (DISTILLED, "distilled", "base"),
    "control": (CONTROL, "base", "base"),
}
WORK = Claim(changing=tuple(f"{name}/{files}" for name in MODELS for files in ("*", "training/*")))
PUBLISHED = Claim(
    files=("manifest.json", *(f"{name}/*" for name in MODELS)), signs={"manifest.json": ("training", "sha256")}
)


def build_model(name: str, work: Path, processes: int) -> Path:
    """Train one of `MODELS` in `work`, from its last checkpoint on; returns its finished folder, weights in bf16."""
    config, mix, parent = MODELS[name]
    finished = work / name
    if (finished / "config.json").exists():
        return finished
    tokenizer = load_tokenizer(FROZEN_TOKENIZER)
    model = new_model(len(tokenizer), config.seed)
    if parent is not None:
        model.load_state_dict(load_file(work / parent / "training" / "model.safetensors"), strict=False)
    rows = pack(documents(mix, seed=config.seed), tokenizer, config.tokens, config.seed)
    train_phase(model, rows, config, finished / "training", processes)
    return _save(model, tokenizer, finished)


def _save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Path:
    for settings in (model.config, model.generation_config):
        settings.bos_token_id = tokenizer.bos_token_id
        settings.eos_token_id = tokenizer.eos_token_id
        settings.pad_token_id = tokenizer.pad_token_id
    for how_it_was_loaded in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(how_it_was_loaded, None)
    tokenizer.save_pretrained(folder)
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def publish(work: Path, out: Path, manifest: Mapping[str, object]) -> None:
    """Copy the finished checkpoints to `out`, with a manifest of their hashes."""
    models = {
        f"{name}/{path.name}": path for name in MODELS for path in sorted((work / name).iterdir()) if path.is_file()
    }
    out.mkdir(parents=True, exist_ok=True)
    with OutputFolder(out, (PUBLISHED,)).writing("manifest.json", *models):
        for name, path in models.items():
            (out / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, out / name)
        training = {name: asdict(config) for name, (config, _, _) in MODELS.items()}
        files = {name: sha256(path) for name, path in models.items()}
        write_json(out / "manifest.json", {**manifest, "training": training, "sha256": files})


def read_manifest(out: Path) -> dict[str, Any]:
    """Read the manifest of published checkpoints.

    Raises `ValueError` where there is none, or where a file is not the one whose hash it holds.
    """
    path = out / "manifest.json"
    if not path.is_file():
        raise ValueError(f"{path} does not exist: train the models first, or give the folder that holds them")
    manifest = read_json_object(path)
    for name, found in manifest["sha256"].items():
        if not (out / name).is_file() or sha256(out / name) != found:
            raise ValueError(f"{out / name} is not the file that {path} names: copy it again, or train the models")
    return manifest


def publish_results(out: Path, results: Mapping[str, object]) -> None:
    """Put results in the manifest of published checkpoints, in the place of earlier ones; raises as `read_manifest`."""
    manifest = read_manifest(out)
    with OutputFolder(out, (PUBLISHED,)).writing("manifest.json"):
        write_json(out / "manifest.json", manifest | dict(results))
