"""A crosscoder written for other libraries: the files of dictionary_learning's hub format."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from toolkit.artifacts import write_json
from toolkit.dictionaries.crosscoder import Crosscoder, threshold_of
from toolkit.dictionaries.rules import RULES
from toolkit.dictionaries.rules.rule import rule_of

NO_CODE_NORMALISATION = 4  # dictionary_learning's number for it


def export_dictionary_learning(crosscoder: Crosscoder, folder: str | Path) -> Path:
    """Write `model.safetensors` and `config.json` as dictionary_learning and its kin load them; return the folder.

    The weights take raw activations, and codes are weighted already, so that its code normalisation is off: a
    threshold on codes is then one on activations. A jumprelu crosscoder becomes a batchtopk one whose codes are in
    units of their thresholds, for the format has one threshold for all. It reads them with
    `CrossCoder.from_pretrained(folder, from_hub=True)`, `BatchTopKCrossCoder` where there is a threshold.

    Raises:
        ValueError: the sparsity rule is topk, which the format cannot say.
    """
    require_exportable(crosscoder.config.sparsity)
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    tensors = _tensors(crosscoder)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, place / "model.safetensors")
    settings: dict[str, int | float | str] = {
        "activation_dim": crosscoder.config.d_model,
        "dict_size": crosscoder.config.n_latents,
        "num_layers": crosscoder.config.n_streams,
        "code_normalization": "NONE",
        "target_rms": 1.0,
    }
    if "k" in tensors:
        settings["k"] = crosscoder.config.k
    write_json(place / "config.json", settings)
    return place


def require_exportable(sparsity: str) -> None:
    """Refuse a sparsity rule that dictionary_learning's crosscoders do not have."""
    if rule_of(sparsity).export is None:
        able = [name for name in RULES if rule_of(name).export]
        raise ValueError(
            f"dictionary_learning has no crosscoder whose latents fire by {sparsity}: train with {', '.join(able)} to"
            " export"
        )


def _tensors(crosscoder: Crosscoder) -> dict[str, Tensor]:
    config, export = crosscoder.config, rule_of(crosscoder.config.sparsity).export
    assert export is not None, "checked before"
    exported = export(threshold_of(crosscoder))
    unit = exported.unit.to(crosscoder.W_dec.device).expand(config.n_latents)
    # NaN is how the format says that it takes activations as they are. activation_global_scale is left out: one library
    # expects one number, the other one a stream, and both then set it to 1.
    off = torch.full((config.n_streams, config.d_model), torch.nan)
    tensors = {
        "encoder.weight": (crosscoder.W_enc / unit[:, None, None]).permute(1, 2, 0),
        "encoder.bias": crosscoder.b_enc / unit,
        "decoder.weight": (crosscoder.W_dec * unit[:, None, None]).transpose(0, 1),
        "decoder.bias": crosscoder.b_dec,
        "code_normalization_id": torch.tensor(NO_CODE_NORMALISATION),
        "target_rms": torch.tensor(1.0),
        "activation_mean": off,
        "activation_std": off.clone(),
    }
    if exported.threshold is None:
        return tensors
    return tensors | {"k": torch.tensor(config.k, dtype=torch.int), "threshold": exported.threshold}
