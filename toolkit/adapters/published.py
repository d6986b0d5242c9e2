"""Published checkpoints of transcoder adapters: whole models, of which the transcoders alone are read.

Such a file holds the distilled model, with the base model's MLPs in place of its own, and beside each MLP
`transcoder_enc.{weight, bias}` and `transcoder_dec.{weight, bias}`. The class of transformers that its config suggests
would load the hybrid and drop the transcoders. Source: Hu et al. 2026, repository nathanhu0/transcoder-adapters.
"""

import re
from collections.abc import Mapping

from torch import Tensor
from transformers import PreTrainedConfig

from toolkit.adapters.model_parts import TRANSCODER, hash_parts
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.models.files.loading import read_config
from toolkit.models.files.weight_files import read_weights, weight_files
from toolkit.models.sources import Source
from toolkit.tensor_files import check_finite

_KEY = re.compile(r"layers\.(\d+)\.mlp\.transcoder_(enc|dec)\.(weight|bias)$")
_NAMES = {("enc", "weight"): "W_enc", ("enc", "bias"): "b_enc", ("dec", "weight"): "W_dec", ("dec", "bias"): "b_dec"}


def is_published(config: PreTrainedConfig) -> bool:
    """Whether a model's config is that of a published checkpoint."""
    return any(name.endswith("WithTranscoder") for name in getattr(config, "architectures", None) or ())


def read_published(source: Source) -> Adapter:
    """Read the transcoders of a published checkpoint, in float32, and hash the models' parts that it holds.

    The hashes are compared with the models when an `AdaptedModel` is made. How many latents fire is not read from the
    checkpoint's name: `evaluate_adapter.py` measures it. Raises `ValueError` for a checkpoint that lacks transcoders,
    or whose tensors do not fit its config, and as `load_config` does.
    """
    config = read_config(source.name, source.hub)
    parts = hash_parts(source)
    about = AdapterConfig(
        d_model=config.hidden_size,
        n_layers=config.num_hidden_layers,
        n_latents=_n_latents(source, config),
        base_mlps=parts.mlps,
        distilled_rest=parts.rest,
        assumptions=(
            f"format: {', '.join(config.architectures)}, of which the transcoders alone are read",
            "models: not named in the checkpoint; their weights must be those that it holds, by sha256 in bfloat16",
            "L0: measured, not read from the checkpoint's name",
        ),
    )
    files = weight_files(source.name, config, source.hub)
    tensors = {_renamed(name): tensor for name, tensor in read_weights(files, lambda name: TRANSCODER in name)}
    adapter = Adapter(about)
    if not getattr(config, "transcoder_dec_bias", True):
        tensors |= {name: tensor for name, tensor in adapter.state_dict().items() if name.endswith("b_dec")}
    tensors = {name: tensor.t() if name.endswith("W_dec") else tensor for name, tensor in tensors.items()}
    _check(source, adapter, tensors)
    adapter.load_state_dict(tensors)
    return adapter


def _n_latents(source: Source, config: PreTrainedConfig) -> int:
    found = getattr(config, "transcoder_n_features", None)
    if not isinstance(found, int):
        raise ValueError(
            f"transcoder_n_features in the config.json of {source.name} is {found!r}, and should be the number of"
            " latents of a layer: copy or download it again"
        )
    return found


def _renamed(name: str) -> str:
    found = _KEY.search(name)
    return f"layers.{found[1]}.{_NAMES[found[2], found[3]]}" if found else name


def _check(source: Source, adapter: Adapter, tensors: Mapping[str, Tensor]) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in adapter.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wrong := sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name)):
        raise ValueError(
            f"{source.name} holds no adapter of {adapter.config.n_latents} latents in each of {adapter.config.n_layers}"
            f" layers, as its config.json says: {wrong[0]} is {found.get(wrong[0], 'missing')}, and should be"
            f" {wanted.get(wrong[0], 'absent')}"
        )
    check_finite(f"the adapter in {source.name!r}", tensors)
