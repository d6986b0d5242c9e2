"""A second device that is this CPU: it computes the same, but tensors of two devices do not mix there, as on a GPU.

Its tensors hold one of the CPU. An operation that is given some of them and others of the CPU is refused, where CUDA
refuses it: all but copies, numbers (tensors without axes), and indices into its tensors.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import accelerate.utils.modeling
import torch
import transformers.integrations.accelerate
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretended"
LARGEST = 2**40
"""Bytes that a wrapper says its storage has, so that it may take any shape."""
_MAY_MIX = ("copy_", "_to_copy")
_INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")


class PretendedTensor(Tensor):
    """A tensor on the pretended device."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor, requires_grad: bool | None = None) -> Tensor:
        if requires_grad is not None:  # accelerate makes a parameter anew by the class of the former one
            return torch.nn.Parameter(held, requires_grad=requires_grad)
        dense = held.layout == torch.strided
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride() if dense else None,
            storage_offset=held.storage_offset() if dense else None,
            storage_size=LARGEST,
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    def __repr__(self) -> str:
        return f"{self.held!r} on {self.device}"

    def tolist(self) -> Any:
        return self.held.tolist()  # torch refuses it to subclasses, and does it for any device

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()  # a wrapper's own holds nothing, not even an address

    @property
    def data(self) -> Tensor:
        return Tensor.data.__get__(self)  # type: ignore[attr-defined]

    @data.setter
    def data(self, other: Tensor) -> None:
        """Take what another holds too, as where a module becomes one of another type."""
        Tensor.data.__set__(self, other)  # type: ignore[attr-defined]
        self.held = other.held

    def _follow(self) -> None:
        """Take the shape that an operation gave in place to what this holds."""
        if self.held.layout != torch.strided:
            return
        if (self.shape, self.stride()) != (self.held.shape, self.held.stride()):
            with torch.utils._mode_utils.no_dispatch():
                self.as_strided_(self.held.shape, self.held.stride(), self.held.storage_offset())

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options, name = dict(options or {}), function.overloadpacket.__name__
        _check(name, arguments, options)
        target = options.get("device")
        there = target is None or torch.device(target).type == NAME
        if target is not None and there:
            options["device"] = torch.device("cpu")
        given = {id(leaf.held): leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, cls)}
        own = {id(leaf): leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, Tensor)}

        def unwrapped(leaf: Any) -> Any:
            return leaf.held if isinstance(leaf, cls) else leaf

        def wrapped(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or id(leaf) in own:
                return leaf
            if id(leaf) in given:  # in place
                return given[id(leaf)]
            return cls(leaf) if there else leaf

        found = function(*tree_map(unwrapped, arguments), **tree_map(unwrapped, options))
        for wrapper in given.values():
            wrapper._follow()
        return tree_map(wrapped, found)


def _check(name: str, arguments: Any, options: Any) -> None:
    """Raise CUDA's error for tensors of two devices."""
    if name in _MAY_MIX:
        return
    if name in _INDEXING and isinstance(arguments[0], PretendedTensor):
        arguments = (arguments[0], *arguments[2:])
    tensors = [leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, Tensor)]
    if any(not isinstance(tensor, PretendedTensor) and tensor.ndim for tensor in tensors):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and cpu!"
            f" (when checking arguments of {name})"
        )


class _Module:
    """What torch asks a kind of device: how many there are; none, unless a test pretends."""

    present = False

    def is_available(self) -> bool:
        return self.present

    def device_count(self) -> int:
        return int(self.present)

    def current_device(self) -> int:
        return 0

    def is_initialized(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def manual_seed_all(self, seed: int) -> None:
        pass

    def get_rng_state(self, device: object = None) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        torch.set_rng_state(state)

    def synchronize(self, device: object = None) -> None:
        pass

    def empty_cache(self) -> None:
        pass

    def mem_get_info(self, device: object = None) -> tuple[int, int]:
        return 2**34, 2**34


MODULE = _Module()
OWN = torch.accelerator.current_accelerator(check_available=True)
"""The machine's own accelerator; where there is one, nothing is pretended."""
_kernels = torch.library.Library("aten", "IMPL", "PrivateUse1")


def _empty(
    size: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
    memory_format: Any = None,
) -> Tensor:
    return PretendedTensor(torch.empty(size, dtype=dtype, device="cpu"))


def _empty_strided(
    size: Any, stride: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None
) -> Tensor:
    return PretendedTensor(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    target.held.copy_(source.held if isinstance(source, PretendedTensor) else source)
    return target


if OWN is None:
    backend_registration._setup_privateuseone_for_python_backend(NAME, MODULE)
    _kernels.impl("_copy_from", _copy_from)
    _kernels.impl("empty.memory_format", _empty)
    _kernels.impl("empty_strided", _empty_strided)


AWAY = torch.device(OWN.type if OWN else NAME, 0)
_MEMORY = {0: 2**34, "cpu": 2**34}


def _max_memory(given: Any = None) -> Any:
    return dict(given or _MEMORY)


@contextmanager
def present() -> Iterator[None]:
    """Inside, this machine has the device, and models land there; one with an accelerator stays as it is."""
    if OWN is not None or MODULE.present:
        yield
        return
    MODULE.present = True
    found = [
        (module, module.get_max_memory) for module in (accelerate.utils.modeling, transformers.integrations.accelerate)
    ]
    for module, _ in found:
        module.get_max_memory = _max_memory
    try:
        yield
    finally:
        MODULE.present = False
        for module, function in found:
            module.get_max_memory = function


_for_good = ExitStack()


def stay() -> None:
    """Make it present until this process ends, and in those that it starts, which read `sitecustomize.py`."""
    _for_good.enter_context(present())
    folder, path = str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")
    if folder not in path.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (path, folder)))
