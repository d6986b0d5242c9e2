"""The first page of a crosscoder's hub repository: what it is, how good it is, and how to load it."""

import re
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from toolkit.artifacts import read_json_object
from toolkit.dictionaries.configs import CrosscoderConfig

LIBRARY = "distillation-crosscoders"
TAGS = ("crosscoder", "nnsight", "model-diffing", "sparse-autoencoder", "interpretability")
MEASURED = {
    "fve": "fraction of variance explained, {}",
    "l0": "latents firing per token",
    "dead_share": "share of latents that never fired",
    "loss_recovered": "loss recovered when its reconstruction is spliced in, {}",
    "held_out_tokens": "held-out tokens that this was measured on",
}


def model_card(
    config: CrosscoderConfig, repo_id: str, *, metrics: Mapping[str, object], license: str | None
) -> ModelCard:
    """Return the page with its metadata; models that are no hub repositories are named, without their paths."""
    data = ModelCardData(
        base_model=[source for source in config.sources if _is_repository(source)] or None,
        library_name=LIBRARY,
        license=license,
        tags=[*TAGS],
    )
    sections = (f"# {repo_id.rpartition('/')[2]}", _what(config), _loading(config, repo_id), _measured(metrics))
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(filter(None, sections)) + "\n")


def read_metrics(source: str | None) -> dict[str, object]:
    """Return the metrics in the run folder that the crosscoder was loaded from; empty where there are none."""
    place = Path(source or "").expanduser()
    path = (place if place.is_dir() else place.parent) / "metrics.json"
    return read_json_object(path) if source and path.is_file() else {}


def _what(config: CrosscoderConfig) -> str:
    kind = "A sparse autoencoder" if len(config.models) == 1 else "A crosscoder"
    sources = config.sources or ("",) * len(config.models)
    models = [
        f"- {name}: [{source}](https://huggingface.co/{source})" if _is_repository(source) else f"- {name}"
        for name, source in zip(config.models, sources, strict=True)
    ]
    return (
        f"{kind} of {config.n_latents:,} latents, which reads the residual streams of these models at the"
        f" {config.site}, d_model {config.d_model}:\n\n" + "\n".join(models) + "\n\n"
        f"Sparsity rule: {config.rule}. It takes raw activations; scales are folded into its weights."
        + "".join(f"\n\n- {assumption}" for assumption in config.assumptions)
    )


def _loading(config: CrosscoderConfig, repo_id: str) -> str:
    return (
        "```python\nfrom toolkit import Crosscoder\n\n"
        f'crosscoder = Crosscoder.from_pretrained("{repo_id}")\n'
        f"codes = crosscoder.encode(activations)  # [token, {config.n_streams}, {config.d_model}]:"
        f" {', '.join(config.streams)}\n```"
    )


def _measured(metrics: Mapping[str, object]) -> str:
    rows = []
    for name, value in metrics.items():
        stem = next((stem for stem in MEASURED if name == stem or name.startswith(f"{stem}_")), None)
        if stem is not None and isinstance(value, int | float):
            meaning = MEASURED[stem].format(name.removeprefix(stem).lstrip("_"))
            rows.append(f"| {meaning} | {f'{value:,}' if isinstance(value, int) else f'{value:.4g}'} |")
    return "| measured | value |\n|---|---|\n" + "\n".join(rows) if rows else ""


def _is_repository(source: str) -> bool:
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source) is not None and not Path(source).exists()
