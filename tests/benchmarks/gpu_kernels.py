"""The products of the codes that fire by torch and by Triton, a selection two ways, and whole steps."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from gpu_shapes import Shapes
from gpu_timing import seconds_of
from torch import Tensor
from torch.utils._pytree import tree_leaves

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.optimiser import adam, update
from toolkit.dictionaries.row_update import RowUpdate
from toolkit.dictionaries.rules.batchtopk import smallest_by_topk
from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products.plain import PLAIN
from toolkit.dictionaries.sparse_products.products import SparseProducts
from toolkit.dictionaries.training import CrosscoderTrainer
from toolkit.dictionaries.weights import Weights

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SURPLUS = 0.1  # candidates beyond those that are kept, as a step has them
Row = dict[str, Any]
Ways = dict[str, Callable[[], Any]]


def time_kernels(shapes: Shapes, device: torch.device) -> Iterator[Row]:
    """Each product, the selection, Adam and a step both ways: ms, how many times as fast as torch, and the largest
    ‖found − torch's‖ / ‖torch's‖.
    """
    scores = torch.rand(int((1 + SURPLUS) * shapes.batch * shapes.k), device=device)
    surplus = int(SURPLUS * shapes.batch * shapes.k) + 1
    selecting = {
        "kthvalue": lambda: scores.kthvalue(surplus).values,
        "topk": lambda: smallest_by_topk(scores, surplus),
    }
    yield from compared("selection", selecting, shapes, device)
    if find_spec("triton") is None or (device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1"):
        yield {"what": "Triton's kernels", "way": "need a CUDA device, or TRITON_INTERPRET=1 on a CPU"}
        return
    from toolkit.dictionaries.sparse_products.triton import triton_products

    products = {"torch": PLAIN} | {f"triton, {name}": triton_products(dtype) for name, dtype in TYPES.items()}
    for what, given_to in arguments(shapes, device).items():
        ways: Ways = {name: bound(each, what, given_to) for name, each in products.items()}
        yield from compared(what, ways, shapes, device)
    updates: Ways = {name: adam_step(shapes, device, name) for name in ("torch", "triton")}
    yield from compared("Adam, bf16", updates, shapes, device)
    for precision in TYPES:
        steps: Ways = {name: step(shapes, device, precision, name) for name in ("torch", "triton")}
        yield from compared(f"step, {precision}", steps, shapes, device)


def compared(what: str, ways: Ways, shapes: Shapes, device: torch.device) -> Iterator[Row]:
    """The ways to one result; the first is the reference. A CPU interprets kernels, which tells nothing of their speed:
    there they are not timed.
    """
    results = {name: [each.clone() for each in tree_leaves(way())] for name, way in ways.items()}
    timed = {name: seconds_of(way, device, shapes.repeats) for name, way in ways.items() if device.type == "cuda"}
    reference = next(iter(ways))
    for name, found in results.items():
        pairs = zip(found, results[reference], strict=True)
        row: Row = {"what": what, "way": name}
        row["difference"] = max(((a - b).norm() / b.norm().clamp(min=1e-30)).item() for a, b in pairs)
        if timed:
            row |= {"ms": 1e3 * timed[name], "times as fast": timed[reference] / timed[name]}
        yield row


def arguments(shapes: Shapes, device: torch.device) -> dict[str, tuple[Any, ...]]:
    """What each product is given; how often a latent fires falls with its index, as in training, so that some fire on
    nearly all tokens.
    """
    n_latents, width = shapes.latents[0], 2 * shapes.d_model
    generator = torch.Generator().manual_seed(0)
    frequency = 1 / torch.arange(1, n_latents + 1) ** 0.5
    frequency *= shapes.k / frequency.sum()
    fires = torch.rand(n_latents, shapes.batch, generator=generator) < frequency[:, None]
    flat = fires.flatten().nonzero().squeeze(1).to(device)
    pattern = SparsePattern.from_flat(flat, (n_latents, shapes.batch))

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    W_enc, W_dec, codes = drawn(n_latents, width), drawn(n_latents, width), drawn(len(flat))
    x, error, out = (
        drawn(shapes.batch, width),
        drawn(shapes.batch, width),
        (torch.empty_like(W_enc), torch.empty_like(W_dec)),
    )
    return {
        "codes": (pattern, W_enc, drawn(n_latents), x),
        "decode": (pattern, codes, W_dec, torch.zeros_like(x)),
        "weight_gradients": (pattern, codes, x, error, W_dec, out),
    }


def bound(products: SparseProducts, what: str, given: tuple[Any, ...]) -> Callable[[], Any]:
    """One product of these arguments, gradients with the squares that clip them; `decode` is given a fresh start each
    time, as it may overwrite it."""
    function = getattr(products, what)
    if what == "weight_gradients":
        return lambda: function(*given).with_squares()
    if what == "decode":
        return lambda: function(*given[:-1], torch.zeros_like(given[-1]))
    return lambda: function(*given)


def adam_step(shapes: Shapes, device: torch.device, kernels: str) -> Callable[[], list[Tensor]]:
    """Adam's step of all weights, clipped, with the norms and the scaled encoder that the next step needs of them."""
    config = TrainingConfig(k=shapes.k, n_latents=shapes.latents[0], batch_tokens=shapes.batch)
    x = torch.randn(shapes.batch, 2, shapes.d_model, generator=torch.Generator().manual_seed(0)).to(device)
    state = initialise(config, 2, x, torch.Generator().manual_seed(1))
    weights = Weights(*(state[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec")))
    gradients, optimiser = Weights(*(weight.clone() for weight in weights[:4])), adam(weights, state)
    by_rows = RowUpdate(weights, state, 2, torch.bfloat16) if kernels == "triton" else None
    encoder = torch.empty_like(weights.W_enc, dtype=torch.bfloat16)

    def take() -> list[Tensor]:
        done = by_rows.step(gradients, config.lr, 0.5, 1) if by_rows else ()
        update(optimiser, weights, gradients, config.lr, 0.5, left_out=done)
        if by_rows:
            return [*weights[:4], *by_rows.written()]
        norms = weights.decoder_norms(2)
        return [*weights[:4], norms, torch.mul(weights.W_enc, norms.sum(dim=1, keepdim=True), out=encoder)]

    return take


def step(shapes: Shapes, device: torch.device, precision: Any, kernels: Any) -> Callable[[], Tensor]:
    """A BatchTopK step, which returns the norm of its gradient."""
    config = TrainingConfig(k=shapes.k, k_anneal_steps=0, batch_tokens=shapes.batch, n_latents=shapes.latents[0])
    config = replace(config, precision=precision, kernels=kernels)
    x = torch.randn(shapes.batch, 2, shapes.d_model, generator=torch.Generator().manual_seed(0)).to(device)
    state = initialise(config, 2, x, torch.Generator().manual_seed(1))
    trainer = CrosscoderTrainer(config, state, models=("base", "distilled"), layers=(0,))
    return lambda: torch.tensor(trainer.step(x).grad_norm)
