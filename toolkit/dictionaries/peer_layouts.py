"""Tensors of other crosscoder libraries in this toolkit's order of axes, read as their authors use them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.artifacts import read_json_object
from toolkit.dictionaries.rules import Sparsity
from toolkit.dictionaries.weights import Weights

Shapes = tuple[tuple[int, ...], ...]
REPLICATION_KEYS = frozenset({"W_enc", "W_dec", "b_enc", "b_dec"})
CROSSCODE_KEYS = frozenset({"_W_enc_XiDiL", "_W_dec_LXoDo"})
THRESHOLD, OLDER_THRESHOLD = "_activation_fn.log_threshold_L", "activation_fn.log_threshold_L"
FOLDED_IN, FOLDED_OUT = "folded_scaling_factors_in_Xi", "folded_scaling_factors_out_Xo"


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
    """Threshold on the code: one for all latents, or one for each."""
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

    Its thresholds are on activations, hence times Σ‖W_dec‖ on codes, W_dec as it was trained: its trainers save weights
    with the scaling factors folded in, which are taken out again. Top-k rules that rank activations without
    their decoder norms have no equal here and are refused.
    """
    tensors = {THRESHOLD if name == OLDER_THRESHOLD else name: tensor for name, tensor in tensors.items()}
    n_models, n_layers, d_model, n_latents = axes(path, tensors, "_W_enc_XiDiL", 4)
    streams = (n_models, n_layers)
    biases = {"b_enc_L": ((n_latents,),), "_b_dec_XoDo": ((*streams, d_model),)}
    folding = {"is_folded": ((),), FOLDED_IN: (streams,), FOLDED_OUT: (streams,)}
    check(
        path,
        tensors,
        {"_W_enc_XiDiL": ((*streams, d_model, n_latents),), "_W_dec_LXoDo": ((n_latents, *streams, d_model),)},
        {**biases, THRESHOLD: ((n_latents,),), **folding},
    )
    factors = _folded_factors(path, tensors)
    unfold = torch.ones(streams) if factors is None else factors
    decoder = tensors["_W_dec_LXoDo"].float() * unfold[..., None]
    norms = decoder.norm(dim=3).sum(dim=(1, 2))
    encoder = (tensors["_W_enc_XiDiL"].float() / unfold[..., None, None]).permute(3, 0, 1, 2).flatten(1)
    b_enc = tensors.get("b_enc_L", torch.zeros(n_latents)).float()
    b_dec = tensors.get("_b_dec_XoDo", torch.zeros(*streams, d_model)).float() * unfold[..., None]
    threshold = tensors[THRESHOLD].float().exp() * norms if THRESHOLD in tensors else None
    rule = "threshold: JumpReLU's, stored" if threshold is not None else _require_relu(path)
    return Layout(
        weights=Weights(encoder, b_enc, decoder.flatten(1), b_dec.flatten()),
        shape=(n_models, n_layers, d_model),
        code_norms=norms,
        sparsity="l1" if threshold is None else "jumprelu",
        threshold=threshold,
        scale=None if factors is None else factors.flatten(),
        assumptions=(
            "format: crosscode (model-diffing)",
            *(
                ["activations: raw, times the scaling factors that were folded in already"]
                if factors is not None
                else []
            ),
            "codes: f Σ‖W_dec‖, the weight that its sparsity penalty gives them",
            rule,
        ),
    )


def _folded_factors(path: Path, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """Factors on activations that are in the weights already, which divide the decoder; None where none are."""
    if not tensors.get("is_folded", torch.tensor(False)):
        return None
    given, taken = (tensors[name].float() if name in tensors else torch.zeros(()) for name in (FOLDED_IN, FOLDED_OUT))
    if not torch.equal(given, taken) or not ((given > 0) & given.isfinite()).all():
        raise ValueError(
            f"{path} has folded scaling factors {given.tolist()} in and {taken.tolist()} out: expected the same"
            " positive ones; save it unfolded, and give them as scale="
        )
    return given


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
    return read_json_object(path) if path.is_file() else {}


def _hook_point(path: Path) -> str:
    return str(read_settings(path.parent / "cfg.json").get("hook_point", path.absolute().parent.name))


def _require_relu(path: Path) -> str:
    """What is assumed of a rule without tensors; top-k rules, which only settings beside weights name, are refused."""
    settings = path.parent / "model_cfg.yaml"
    text = settings.read_text(encoding="utf-8") if settings.is_file() else ""
    rules = re.findall(r"^\s*classname:\s*(\w+)", text, re.MULTILINE)
    if not rules:
        return f"rule: ReLU (assumed, {'none in' if text else 'no'} model_cfg.yaml)"
    if rules != ["ReLUActivation"]:
        raise ValueError(
            f"{settings} asks for {rules[0]}, which ranks activations without their decoder norms (or stores its "
            "thresholds elsewhere); ReLU and JumpReLU crosscoders can be read"
        )
    return "threshold: none, every positive code is kept"
