"""A model whose weights are in this process: on which devices they lie, as which type, and what stays on the disk."""

from typing import Any, Literal

import torch
from accelerate.hooks import remove_hook_from_submodules
from accelerate.utils import convert_file_size_to_int
from accelerate.utils.memory import clear_device_cache
from nnsight.modeling.transformers import TransformersModel
from transformers.distributed import DistributedConfig

from toolkit.arguments import as_dtype
from toolkit.devices import accelerators, as_device, default_device
from toolkit.models.places.place import Place
from toolkit.models.places.processes import n_processes
from toolkit.models.where import Where

_AUTOMATIC = ("auto", "balanced", "balanced_low_0", "sequential")


class Here(Place):
    """The place of a model whose weights stay in this process."""

    def __init__(self, model: TransformersModel) -> None:
        super().__init__(model._module.device)
        self._model = model

    @property
    def model(self) -> TransformersModel:
        """The model behind nnsight, as it was given."""
        return self._model

    def free(self) -> None:
        """Free the memory of the weights: the model cannot run any more."""
        module = self._model._module
        remove_hook_from_submodules(module)
        module.to_empty(device="meta")
        clear_device_cache()  # no collection of garbage, which takes a second: nothing else refers to the weights

    def __repr__(self) -> str:
        return f"on {self.device}"


def loading_options(where: Where) -> dict[str, Any]:
    """Keywords of transformers' `from_pretrained` for one model.

    Raises `ValueError` for an unknown type, a device that this machine lacks, and a `max_memory` that is not a size.
    """
    _check_device(where.device_map)
    limits = _limits(where)
    options: dict[str, Any] = {"dtype": weights_dtype(where)}
    if where.attn_implementation is not None:
        options["attn_implementation"] = where.attn_implementation
    if where.tensor_parallel:
        return options | {"distributed_config": DistributedConfig(tp_size=n_processes())}
    # A device by name would hold all of the model; only a map that accelerate infers heeds limits.
    device_map = {"device_map": where.device_map} if limits is None else {"device_map": "auto", "max_memory": limits}
    return options | device_map | {"offload_folder": where.offload_folder and str(where.offload_folder)}


def weights_dtype(where: Where) -> torch.dtype | Literal["auto"]:
    """Return the type of the loaded weights; auto means the saved type. Raises `ValueError` for an unknown type."""
    if where.dtype != "auto":
        return as_dtype(where.dtype)
    on_cpu = "cpu" in (str(where.device_map), default_device().type)
    return torch.float32 if on_cpu else "auto"  # half precision loses accuracy, and not every CPU is fast at it


def lands_on(where: Where) -> torch.device:
    """Return where a model with these settings is read, or the first of the devices that it is spread over.

    Raises `ValueError` for a device that this machine lacks.
    """
    spread = where.remote or where.tensor_parallel or where.device_map in _AUTOMATIC
    return as_device("auto" if spread else where.device_map)


def _limits(where: Where) -> dict[int | str, int] | None:
    """Return the bytes of weights that each device may hold, with accelerate's names and order."""
    each = where.max_memory
    if each is None:
        return None
    if not isinstance(each, dict):
        return dict.fromkeys(_devices(where.device_map), size_in_bytes(each))
    for device in each:
        _check_device(device)
    return {device: size_in_bytes(size) for device, size in each.items()}


def _devices(device_map: str | int | torch.device) -> list[int | str]:
    """Return the devices that may hold weights; those that an accelerator cannot hold go to the main memory."""
    if device_map in _AUTOMATIC:
        return [*("mps" if each.type == "mps" else each.index for each in accelerators()), "cpu"]
    device = torch.device(device_map)
    return ["cpu"] if device.type == "cpu" else [device.index or 0, "cpu"]


def _check_device(name: str | int | torch.device) -> None:
    if name not in (*_AUTOMATIC, "disk"):
        as_device(name)


def size_in_bytes(max_memory: str | int) -> int:
    """Return the bytes of a size such as 2GB; raises `ValueError` for anything but a size above 0."""
    try:
        size = int(convert_file_size_to_int(max_memory))
    except (ValueError, TypeError):
        size = 0
    if size < 1:
        raise ValueError(f"max_memory {max_memory!r} is no size above 0: give one such as 2GB or 500MiB")
    return size
