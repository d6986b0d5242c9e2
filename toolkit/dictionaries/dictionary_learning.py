"""Reads the checkpoints of dictionary_learning, crosscoder_learning and diffing-toolkit, in all their variants."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.dictionaries.peer_layouts import Layout, Shapes, axes, check, read_settings
from toolkit.dictionaries.weights import Weights

KEYS = frozenset({"encoder.weight", "decoder.weight"})
CODE_NORMALISATIONS = ("crosscoder", "sae", "mixed", "none", "decoupled")  # stored as 1, 2, ...
ALPHAS = {"sae": 1.0, "cc": 0.1}  # of mixed; the format's defaults


def read_dictionary_learning(path: Path, tensors: Mapping[str, Tensor]) -> Layout:
    """Read encoder.weight [stream, d_model, latent], decoder.weight [stream, latent, d_model] and what is beside them.

    f = relu(Σ_s x'_s W_enc,s + b), x' = (x − mean) · scale where a normaliser is stored; reported codes are f n, with
    n from the decoder's norms as `code_normalization_id` says; f stays where f n exceeds the threshold.
    """
    settings = _settings(path)
    normalisation, code_note = _code_normalisation(path, tensors, settings)
    n_streams, d_model = _check(path, tensors, decoupled=normalisation == "decoupled")
    decoder = tensors["decoder.weight"].float()
    scale, mean, activation_note = _normaliser(tensors, n_streams)
    threshold, threshold_note = _threshold(tensors)
    layout = Layout(
        weights=Weights(
            tensors["encoder.weight"].float().permute(2, 0, 1).flatten(1),
            tensors["encoder.bias"].float(),
            decoder.transpose(0, 1).flatten(1),
            tensors["decoder.bias"].float().flatten(),
        ),
        shape=(n_streams, 1, d_model),
        code_norms=_code_norms(decoder, normalisation, settings),
        sparsity="l1" if threshold is None else "batchtopk",
        k=int(tensors["k"]) if "k" in tensors else 1,
        threshold=threshold,
        scale=scale,
        mean=mean,
        layers=_layers(path, settings),
        assumptions=("format: dictionary_learning", activation_note, code_note, threshold_note),
    )
    if normalisation == "decoupled" and threshold is not None:
        return _split_by_stream(_normalise_twice(layout), decoder)
    return layout


def _check(path: Path, tensors: Mapping[str, Tensor], *, decoupled: bool) -> tuple[int, int]:
    n_streams, d_model, n_latents = axes(path, tensors, "encoder.weight", 3)
    required = {
        "encoder.weight": ((n_streams, d_model, n_latents),),
        "encoder.bias": ((n_latents,),),
        "decoder.weight": ((n_streams, n_latents, d_model),),
        "decoder.bias": ((n_streams, d_model),),
    }
    optional: dict[str, Shapes] = {
        "code_normalization_id": ((),),
        "target_rms": ((),),
        "activation_mean": ((n_streams, d_model),),
        "activation_std": ((n_streams, d_model),),
        "activation_global_scale": ((), (n_streams,)),
        "k": ((),),
        "threshold": ((n_streams,),) if decoupled else ((),),
    }
    check(path, tensors, required, optional)
    return n_streams, d_model


def _settings(path: Path) -> Mapping[str, Any]:
    """Training writes {"trainer": …, "buffer": …}, the hub the arguments of the class."""
    settings = read_settings(path.parent / "config.json")
    trainer = settings.get("trainer")
    return trainer if isinstance(trainer, dict) else settings


def _code_normalisation(path: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> tuple[str, str]:
    names = CODE_NORMALISATIONS
    if "code_normalization_id" in tensors:
        number = int(tensors["code_normalization_id"])
        if not 1 <= number <= len(names):
            raise ValueError(f"{path} has code_normalization_id {number}; known are 1 to {len(names)}: {names}")
        name, origin = names[number - 1], "stored"
    else:
        named = str(settings.get("code_normalization", "")).lower()
        name, origin = (named, "from its settings") if named in names else (names[0], "assumed, it is not stored")
    return name, f"codes: times the decoder norms of kind {name} ({origin})"


def _code_norms(
    decoder: Float[Tensor, "stream latent d_model"], normalisation: str, settings: Mapping[str, Any]
) -> Float[Tensor, " latent"]:
    summed, joint = decoder.norm(dim=2).sum(dim=0), decoder.norm(dim=(0, 2))
    if normalisation == "none":
        return torch.ones_like(summed)
    if normalisation == "sae":
        return joint
    if normalisation == "mixed":
        alpha = {name: settings.get(f"code_normalization_alpha_{name}") for name in ALPHAS}
        weight = {name: ALPHAS[name] if value is None else float(value) for name, value in alpha.items()}
        return weight["sae"] * joint + weight["cc"] * summed
    return summed


def _normaliser(tensors: Mapping[str, Tensor], n_streams: int) -> tuple[Tensor, Tensor | None, str]:
    """NaN in mean or standard deviation is how the format says that it takes activations as they are."""
    mean, std = (tensors.get(f"activation_{name}", torch.tensor(torch.nan)).float() for name in ("mean", "std"))
    if mean.isnan().any() or std.isnan().any():
        return torch.ones(n_streams), None, "activations: raw, no normaliser is stored"
    stored = tensors.get("activation_global_scale")
    if stored is not None:
        scale, origin = stored.float().expand(n_streams), "stored"
    else:
        target = tensors.get("target_rms", torch.tensor(1.0)).float()
        scale, origin = target / std.square().sum(dim=1).sqrt(), "target_rms / √Σ std², it is not stored"
    factors = ", ".join(f"{factor:.4g}" for factor in scale.tolist())
    return scale, mean, f"activations: minus the stored mean, times {factors} ({origin}), folded in"


def _threshold(tensors: Mapping[str, Tensor]) -> tuple[Tensor | None, str]:
    if "threshold" not in tensors and "k" not in tensors:
        return None, "threshold: none, every positive code is kept"
    stored = tensors.get("threshold", torch.tensor(-1.0)).float()
    if (stored < 0).any():
        k = f"; training kept {int(tensors['k'])} a token" if "k" in tensors else ""
        note = f"threshold: negative or missing, so never set, and every positive code is kept{k}"
    else:
        note = f"threshold: {', '.join(f'{value:.4g}' for value in stored.flatten().tolist())}, stored, on codes"
    return stored.clamp(min=0), note


def _normalise_twice(layout: Layout) -> Layout:
    """Fold a second (x' − mean) · scale into the encoder: with decoupled codes the library trains and runs that way."""
    if layout.mean is None or layout.scale is None:
        return layout
    shape = layout.mean.shape
    encoder = (layout.weights.W_enc.unflatten(1, shape) * layout.scale[:, None]).flatten(1)
    b_enc = layout.weights.b_enc - encoder @ layout.mean.flatten()
    note = "encoder: normalises twice, as the library does with decoupled codes"
    weights = layout.weights._replace(W_enc=encoder, b_enc=b_enc)
    return replace(layout, weights=weights, assumptions=(*layout.assumptions, note))


def _split_by_stream(layout: Layout, decoder: Float[Tensor, "stream latent d_model"]) -> Layout:
    """Make one latent a stream out of each whose streams pass thresholds of their own.

    Latent s · n + j is latent j of n as stream s alone sees it; no single code could say both.
    """
    n_streams, n_latents, d_model = decoder.shape
    assert layout.threshold is not None
    alone = torch.zeros(n_streams, n_latents, n_streams, d_model)
    for stream in range(n_streams):
        alone[stream, :, stream] = decoder[stream]
    weights = layout.weights
    note = (
        f"latents: decoupled, so each of the {n_latents} became {n_streams}, one a stream: {n_latents} s + j is j"
        " in stream s; NRN is 0 or 1 for all"
    )
    return replace(
        layout,
        weights=Weights(
            weights.W_enc.repeat(n_streams, 1),
            weights.b_enc.repeat(n_streams),
            alone.flatten(2).flatten(0, 1),
            weights.b_dec,
        ),
        code_norms=decoder.norm(dim=2).flatten(),
        sparsity="jumprelu",
        k=layout.k * n_streams,
        threshold=layout.threshold.expand(n_streams).repeat_interleave(n_latents),
        assumptions=(*layout.assumptions, note),
    )


def _layers(path: Path, settings: Mapping[str, Any]) -> tuple[int, ...]:
    """The format counts outputs, L15 as a folder or 15 as a setting; what leaves one layer enters the next."""
    layer = settings.get("layer")
    if isinstance(layer, int) and layer >= 0:
        return (layer + 1,)
    folder = re.fullmatch(r"L(\d+)", path.absolute().parent.name)
    return (int(folder[1]) + 1,) if folder else ()
