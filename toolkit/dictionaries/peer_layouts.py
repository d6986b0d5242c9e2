"""Tensors of other crosscoder libraries in this toolkit's order of axes, read as their authors use them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.configs import Sparsity
from toolkit.dictionaries.weights import Weights

Shapes = tuple[tuple[int, ...], ...]
REPLICATION_KEYS = frozenset({"W_enc", "W_dec", "b_enc", "b_dec"})
CROSSCODE_KEYS = frozenset({"_W_enc_XiDiL", "_W_dec_LXoDo"})


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Another library's crosscoder, its axes ordered as here, on the activations of its training."""

    weights: Weights
    """Weights on scaled activations; width is stream × d_model."""
    shape: tuple[int, int, int]
    """Models, layers (streams are model-major) and d_model."""
    code_norms: Float[Tensor, " latent"]
    """Factor that makes the code its library reports of an activation."""
    sparsity: Sparsity
    """Rule that decides which latents fire."""
    k: int = 1
    """Latents kept per token, on average, in training; 1 where the rule has no such number."""
    threshold: Tensor | None = None
    """Threshold on the code, one or one a latent."""
    scale: Float[Tensor, " stream"] | None = None
    """Factor on activations per stream; None where the format needs one and does not store it."""
    mean: Float[Tensor, "stream d_model"] | None = None
    """What is subtracted from activations before they are scaled."""
    layers: tuple[int, ...] = ()
    """Layers whose inputs the streams are; empty where the checkpoint does not say."""
    assumptions: tuple[str, ...]
    """How format, activations, codes and threshold were read."""


def read_replication(path: Path, tensors: Mapping[str, Tensor]) -> Layout:
    """Read crosscoder-model-diff-replication: W_enc [model, d_model, latent], W_dec [latent, model, d_model]."""
    n_models, d_model, n_latents = axes(path, tensors, "W_enc", 3)
    check(
        path,
        tensors,
        {
            "W_enc": ((n_models, d_model, n_latents),),
            "W_dec": ((n_latents, n_models, d_model),),
            "b_enc": ((n_latents,),),
            "b_dec": ((n_models, d_model),),
        },
    )
    decoder = tensors["W_dec"].float()
    norms = decoder.norm(dim=2).sum(dim=1)
    encoder = tensors["W_enc"].float().permute(2, 0, 1).flatten(1)
    biases = tensors["b_enc"].float(), tensors["b_dec"].float().flatten()
    hook = re.fullmatch(r"blocks\.(\d+)\.hook_resid_(pre|post)", _hook_point(path))
    return Layout(
        weights=Weights(encoder, biases[0], decoder.flatten(1), biases[1]),
        shape=(n_models, 1, d_model),
        code_norms=norms,
        sparsity="l1",
        layers=(int(hook[1]) + (hook[2] == "post"),) if hook else (),
        assumptions=(
            "format: crosscoder-model-diff-replication",
            "codes: f Σ‖W_dec‖, the weight that its L1 penalty gives them",
            "threshold: none, every positive code is kept",
        ),
    )


def read_crosscode(path: Path, tensors: Mapping[str, Tensor]) -> Layout:
    """Read crosscode, once model-diffing: _W_enc_XiDiL [model, layer, d_model, latent] and its decoder.

    Its thresholds are on activations, hence times Σ‖W_dec‖ on codes. Top-k rules that rank activations without
    their decoder norms have no equal here and are refused.
    """
    n_models, n_layers, d_model, n_latents = axes(path, tensors, "_W_enc_XiDiL", 4)
    streams = (n_models, n_layers)
    biases = {"b_enc_L": ((n_latents,),), "_b_dec_XoDo": ((*streams, d_model),)}
    threshold_name = "_activation_fn.log_threshold_L"
    folding = {
        "is_folded": ((),),
        "folded_scaling_factors_in_Xi": (streams,),
        "folded_scaling_factors_out_Xo": (streams,),
    }
    check(
        path,
        tensors,
        {"_W_enc_XiDiL": ((*streams, d_model, n_latents),), "_W_dec_LXoDo": ((n_latents, *streams, d_model),)},
        {**biases, threshold_name: ((n_latents,),), **folding},
    )
    decoder = tensors["_W_dec_LXoDo"].float()
    norms = decoder.norm(dim=3).sum(dim=(1, 2))
    encoder = tensors["_W_enc_XiDiL"].float().permute(3, 0, 1, 2).flatten(1)
    b_enc = tensors.get("b_enc_L", torch.zeros(n_latents)).float()
    b_dec = tensors.get("_b_dec_XoDo", torch.zeros(*streams, d_model)).float().flatten()
    folded = bool(tensors.get("is_folded", torch.tensor(False)))
    threshold = tensors[threshold_name].float().exp() * norms if threshold_name in tensors else None
    if threshold is None:
        _require_relu(path)
    return Layout(
        weights=Weights(encoder, b_enc, decoder.flatten(1), b_dec),
        shape=(n_models, n_layers, d_model),
        code_norms=norms,
        sparsity="l1" if threshold is None else "jumprelu",
        threshold=threshold,
        scale=torch.ones(n_models * n_layers) if folded else None,
        assumptions=(
            "format: crosscode (model-diffing)",
            *(["activations: raw, the scaling factors are folded in already"] if folded else []),
            "codes: f Σ‖W_dec‖, the weight that its sparsity penalty gives them",
            "threshold: none, every positive code is kept" if threshold is None else "threshold: JumpReLU's, stored",
        ),
    )


def axes(path: Path, tensors: Mapping[str, Tensor], name: str, n_axes: int) -> tuple[int, ...]:
    """Return the shape of the tensor that gives a format its sizes."""
    shape = tuple(tensors[name].shape)
    if len(shape) != n_axes or 0 in shape:
        raise ValueError(f"{path} has {name} of shape {shape}, expected {n_axes} axes, none of them empty")
    return shape


def check(
    path: Path, tensors: Mapping[str, Tensor], required: Mapping[str, Shapes], optional: Mapping[str, Shapes] = {}
) -> None:
    """Refuse tensors that are missing, unknown, or of none of the shapes that fit the others."""
    known = {**required, **optional}
    if missing := sorted(required.keys() - tensors.keys()):
        raise ValueError(f"{path} lacks the tensors {missing}; it holds {sorted(tensors)}")
    if unknown := sorted(tensors.keys() - known.keys()):
        raise ValueError(f"{path} holds tensors of unknown meaning {unknown}; this format has {sorted(known)}")
    for name, tensor in tensors.items():
        if tuple(tensor.shape) not in known[name]:
            expected = " or ".join(str(shape) for shape in known[name])
            raise ValueError(f"{path} has {name} of shape {tuple(tensor.shape)}, expected {expected}")


def read_settings(path: Path) -> dict[str, Any]:
    """Return a JSON file's object; empty where there is no such file, ValueError where it is something else."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, expected an object of settings")
    return content


def _hook_point(path: Path) -> str:
    return str(read_settings(path.parent / "cfg.json").get("hook_point", path.absolute().parent.name))


def _require_relu(path: Path) -> None:
    """Refuse the top-k rules, which have no tensors: only the settings beside the weights name them."""
    settings = path.parent / "model_cfg.yaml"
    text = settings.read_text(encoding="utf-8") if settings.is_file() else ""
    rules = re.findall(r"^\s*classname:\s*(\w+)", text, re.MULTILINE)
    if rules not in ([], ["ReLUActivation"]):
        raise ValueError(
            f"{settings} asks for {rules[0]}, which ranks activations without their decoder norms (or stores its "
            "thresholds elsewhere); ReLU and JumpReLU crosscoders can be read"
        )
