"""What a training step moves and computes, and the time that an H100 would take for it: predicted, not measured.

python tests/benchmarks/traffic.py l1 batchtopk --latents 32768 65536

Counts every operation of one step at 2,048 tokens of two models of d_model 1,536, k 100. The step itself runs on this
CPU, on a device that pretends to be a GPU, with all four sizes divided by `--divisor`: matrices then hold its square
times fewer numbers, products its cube times fewer operations. With `--kernels triton`, torch stands in for each kernel,
and says what that would move (`traffic_kernels.py`). What is assumed:

- An operation takes the longest of its bytes at the rate of copies that an H100 showed (3.0 TB/s), its operations at
  the rates of large products, and the rows that a sparse product gathers at 6.0 TB/s from the second cache. That is
  what a sparse decode of torch's showed; nobody has measured Triton's kernels. All that these move passes that cache.
- Each operation reads and writes the memory once: nothing is left in the cache for the next one.
- Latents fire as evenly as they do at the start of training: no row is so long that several programs share it.
- Time between operations, sorts and selections beyond their bytes count for nothing: more operations mean more of it.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import astuple, dataclass
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.append(str(Path(__file__).parents[1]))
import pretended_device

from toolkit.dictionaries import dense_pass
from toolkit.dictionaries.configs import Kernels, TrainingConfig
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.rules import RULES
from toolkit.dictionaries.training import CrosscoderTrainer

COPIES, CACHE = 3.0e12, 6.0e12  # bytes/s; the second of gathered rows, by the measured .40 ms of a sparse decode
FLOPS = {torch.float32: 51.6e12, torch.bfloat16: 684e12}  # without TF32
D_MODEL, BATCH, K = 1536, 2048, 100
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "bincount", "unique", "_unique2", "_unique_dim")
PRODUCTS = ("mm", "addmm", "sparse_sampled_addmm")


@dataclass
class Traffic:
    """What operations of one name did in a step."""

    calls: int = 0
    gigabytes: float = 0.0
    teraflops: float = 0.0
    milliseconds: float = 0.0


class Counting(TorchDispatchMode):
    """Adds up what each operation would do with all sizes times `divisor`."""

    def __init__(self, divisor: int = 1) -> None:
        super().__init__()
        self.divisor, self.by_name, self.waits = divisor, dict[str, Traffic](), Counter[str]()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options, name = options or {}, function.overloadpacket.__name__
        if function in (torch.ops.aten.mm.dtype, torch.ops.aten.mm.dtype_out):
            found = _mixed_product(*arguments, **options)
        else:
            found = function(*arguments, **options)
        if _waits(name, arguments, found):
            self.waits[name] += 1
        if not _moves_nothing(function, name) and _is_away(arguments, options, found):
            self._add(name, function, arguments, options, found)
        return found

    def _add(self, name: str, function: Any, arguments: Any, options: Any, found: Any) -> None:
        read, written = _bytes(name, function, arguments, options, found)
        flops, gathered, rate = _product(name, arguments) if name in PRODUCTS else (0, 0, 1.0)
        moved, r = (read + written) * self.divisor**2, self.divisor
        seconds = max(moved / COPIES, gathered * r**3 / CACHE, flops * r**3 / rate)
        kind = f"{name}, sparse" if gathered else name
        self._count(kind, Traffic(1, max(moved, gathered * r**3) / 1e9, flops * r**3 / 1e12, 1e3 * seconds))

    def add_kernel(self, name: str, passed: tuple[int, int]) -> None:
        """Count a kernel that moves so many bytes by the memory, and gathers as many beside them."""
        moved, gathered = passed[0] * self.divisor**2, passed[1] * self.divisor**3
        seconds = max(moved / COPIES, (moved + gathered) / CACHE)
        self._count(name, Traffic(1, (moved + gathered) / 1e9, 0.0, 1e3 * seconds))

    def _count(self, kind: str, more: Traffic) -> None:
        was = self.by_name.setdefault(kind, Traffic())
        self.by_name[kind] = Traffic(*(a + b for a, b in zip(astuple(was), astuple(more), strict=True)))

    @property
    def launches(self) -> int:
        """Operations in all, of which a few start more than one kernel."""
        return sum(traffic.calls for traffic in self.by_name.values())

    @property
    def milliseconds(self) -> float:
        """Of all operations."""
        return sum(traffic.milliseconds for traffic in self.by_name.values())

    def tolist(self, tensor: Any) -> Any:
        """What `Tensor.tolist` gives, which torch does not dispatch."""
        self.waits["tolist"] += 1
        return tensor.held.tolist()


def _mixed_product(a: Tensor, b: Tensor, out_dtype: torch.dtype, *, out: Tensor | None = None) -> Tensor:
    """A product that a CPU does not have."""
    return torch.mm(a.to(out_dtype), b.to(out_dtype), out=out)


def _is_away(arguments: Any, options: Any, found: Any) -> bool:
    leaves = tree_leaves((arguments, options, found))
    return any(isinstance(leaf, Tensor) and leaf.device == pretended_device.AWAY for leaf in leaves)


def _waits(name: str, arguments: Any, found: Any) -> bool:
    """Whether the host waits for the device: its next act depends on a value, or values cross over."""
    given = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]
    away = [tensor for tensor in given if tensor.device == pretended_device.AWAY]
    if name in ("_to_copy", "copy_"):
        return len({tensor.device for tensor in (*given, found)}) > 1
    by_mask = name in ("index", "index_put_") and any(tensor.dtype == torch.bool for tensor in given[1:])
    return bool(away) and (name in WAITING or by_mask)


def _moves_nothing(function: Any, name: str) -> bool:
    views = any(value.alias_info and not value.alias_info.is_write for value in function._schema.returns)
    return (
        views
        or "empty" in name
        or name
        in ("sparse_compressed_tensor", "_sparse_csr_tensor_unsafe", "detach", "_unsafe_view", "values", "lift_fresh")
    )


def _sparse(tensor: Tensor) -> tuple[Tensor, ...]:
    """Values, columns and starts of a sparse matrix; nothing of others."""
    held = getattr(tensor, "held", tensor)
    is_sparse = held.layout == torch.sparse_csr
    return (held.values(), held.col_indices(), held.crow_indices()) if is_sparse else ()


def _size(tensor: Tensor) -> int:
    """Bytes of what it holds, an expanded axis once."""
    if held := _sparse(tensor):
        return int(sum(part.nbytes for part in held))
    numbers = 1
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        numbers *= length if stride or not length else 1
    return numbers * tensor.element_size()


def _bytes(name: str, function: Any, arguments: Any, options: Any, found: Any) -> tuple[int, int]:
    """Bytes read and written."""
    schema = function._schema.arguments
    given = {argument.name: value for argument, value in zip(schema, arguments, strict=False)} | options
    read = written = 0
    for argument in schema:
        size = sum(_size(leaf) for leaf in tree_leaves(given.get(argument.name)) if isinstance(leaf, Tensor))
        changed = argument.alias_info is not None and argument.alias_info.is_write
        unread = argument.is_out or name in ("copy_", "fill_", "zero_") or argument.name == "grad_input"
        written += size * changed
        read += size * (not (changed and unread))
    if (name == "addmm" and given.get("beta") == 0) or name == "sparse_sampled_addmm":
        read -= _size(arguments[0])
    if name == "_fused_adam_" and given.get("grad_scale") is None:
        written -= sum(map(_size, given["grads"]))
    if not written:
        written = sum(_size(leaf) for leaf in tree_leaves(found) if isinstance(leaf, Tensor))
    if name.startswith("new_") or name.endswith("_like"):
        read = 0
    if name == "index":
        read = written + sum(_size(leaf) for leaf in tree_leaves(arguments[1]) if isinstance(leaf, Tensor))
    if name == "nonzero":
        read *= 2
    if name == "sum" and (arguments[0].dtype, found.dtype) != (torch.bfloat16, torch.float32):
        read += 2 * arguments[0].numel() * found.element_size() * (arguments[0].dtype != found.dtype)  # it casts a copy
    return read, written


def _product(name: str, arguments: Any) -> tuple[int, int, float]:
    """Operations, bytes of rows that a sparse product gathers, and operations a second."""
    a, b = arguments[:2] if name == "mm" else arguments[1:3]
    if name == "sparse_sampled_addmm":
        nonzero = _sparse(arguments[0])[0].numel()
        return 2 * nonzero * a.shape[1], 2 * nonzero * a.shape[1] * a.element_size(), FLOPS[torch.float32]
    if held := _sparse(a):
        nonzero = held[0].numel()
        return 2 * nonzero * b.shape[1], nonzero * b.shape[1] * b.element_size(), FLOPS[torch.float32]
    return 2 * a.shape[0] * a.shape[1] * b.shape[1], 0, FLOPS[b.dtype]


@contextmanager
def counted(divisor: int = 1, kernels: Kernels = "torch") -> Iterator[Counting]:
    """Inside, what the pretended device does is counted, and it multiplies as CUDA does."""
    counting, kinds = Counting(divisor), {*dense_pass.MIXED_PRODUCTS, pretended_device.NAME}
    device = pretended_device.PretendedTensor
    with (
        pretended_device.present(),
        patch.object(dense_pass, "MIXED_PRODUCTS", kinds),
        patch.object(device, "tolist", lambda tensor: counting.tolist(tensor)),
        _kernels(kernels, counting),
        counting,
    ):
        yield counting


def _kernels(kernels: Kernels, counting: Counting) -> AbstractContextManager[None]:
    if kernels != "triton":
        return nullcontext()
    import traffic_kernels  # needs a package that few CPUs have

    return traffic_kernels.standing_in(counting.add_kernel)


def count_step(rule: str, precision: str, n_latents: int, divisor: int, kernels: Kernels = "torch") -> Counting:
    """The second step of a crosscoder's training."""
    sizes = {"n_latents": n_latents // divisor, "batch_tokens": BATCH // divisor, "k": K // divisor}
    training = TrainingConfig(sparsity=rule, precision=precision, k_anneal_steps=0, **sizes)
    x = torch.randn(BATCH // divisor, 2, D_MODEL // divisor, generator=torch.Generator().manual_seed(0))
    with counted(kernels=kernels):
        x = x.to(pretended_device.AWAY)
        state = initialise(training, 2, x, torch.Generator().manual_seed(1))
        trainer = CrosscoderTrainer(training, state, models=("base", "distilled"), layers=(0,))
        trainer.step(x)
    with counted(divisor, kernels) as counting:
        trainer.step(x)
    return counting


def draw(title: str, counting: Counting) -> Table:
    """Its operations, the longest first, down to a hundredth of a millisecond."""
    table = Table("operation", "calls", "GB", "TFLOP", "ms, predicted", title=title, title_justify="left", box=None)
    for name, each in sorted(counting.by_name.items(), key=lambda item: -item[1].milliseconds):
        if each.milliseconds >= 0.01:
            cells = (f"{each.gigabytes:.2f}", f"{each.teraflops:.2f}", f"{each.milliseconds:.2f}")
            table.add_row(name, str(each.calls), *cells)
    return table


def main() -> None:
    """Count the steps that are asked for, print tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rules", nargs="*", help=f"of {', '.join(RULES)}; default: all")
    parser.add_argument("--latents", type=int, nargs="+", default=[32_768])
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--kernels", choices=("torch", "triton"), nargs="+", default=["torch"])
    parser.add_argument("--divisor", type=int, default=4)
    parser.add_argument("--json", type=Path, help="file to write everything to")
    asked = parser.parse_args()
    if unknown := [rule for rule in asked.rules if rule not in RULES]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(RULES)}")
    if pretended_device.OWN is not None:
        sys.exit(f"a device that pretends is needed, but {pretended_device.OWN} is here: hide it from this process")
    console, rows = Console(), []
    for n_latents, rule, kernels in product(asked.latents, asked.rules or RULES, asked.kernels):
        found = count_step(rule, asked.precision, n_latents, asked.divisor, kernels)
        waits = dict(found.waits)
        title = (
            f"{rule}, {asked.precision}, {n_latents:,} latents, {kernels}: {found.milliseconds:.2f} ms,"
            f" {found.launches} operations, waits {waits}"
        )
        console.print(draw(title, found))
        operations = {name: vars(traffic) for name, traffic in found.by_name.items()}
        rows.append({"rule": rule, "precision": asked.precision, "latents": n_latents, "kernels": kernels}
                    | {"waits": waits, "predicted ms": found.milliseconds, "launches": found.launches}
                    | {"operations": operations})  # fmt: skip
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
