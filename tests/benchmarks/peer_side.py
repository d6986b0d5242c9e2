"""One training step or buffer draw of other libraries, timed where they are installed: `peers.py` starts this.

Runs under the peers' own interpreter and imports nothing of this project. argv: the shapes, as JSON. It answers with
one JSON line, what each work is that can be done here or why it cannot, then to each work's name with its CPU seconds.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any

Work = Callable[[], object]


def sparsify_topk(shape: dict[str, int]) -> Work:
    """The inner part of sparsify's `Trainer.fit`, with Adam."""
    import torch
    from sparsify import SparseCoder, SparseCoderConfig

    coder = SparseCoder(shape["width"], SparseCoderConfig(num_latents=shape["latents"], k=shape["k"]))
    optimiser = torch.optim.Adam(coder.parameters(), lr=1e-4)
    x, dead = batch(shape), torch.zeros(shape["latents"], dtype=torch.bool)

    def run() -> None:
        coder.set_decoder_norm_to_unit_norm()
        coder(x, dead_mask=dead).fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()

    return run


def dictionary_learning(trainer: str, **options: Any) -> Callable[[dict[str, int]], Work]:
    """A trainer's own `update`, past its first step."""

    def prepare(shape: dict[str, int]) -> Work:
        from dictionary_learning import trainers

        sizes = {"activation_dim": shape["width"], "dict_size": shape["latents"], "lr": 1e-4, "device": "cpu"}
        kept = {} if trainer == "StandardTrainer" else {"k": shape["k"]}
        made = find(trainers, trainer)(steps=100_000, layer=0, lm_name="none", **sizes, **kept, **options)
        x = batch(shape)
        return lambda: made.update(5000, x)

    return prepare


def find(package: Any, name: str) -> Any:
    """A class of one of the package's modules."""
    from importlib import import_module
    from pkgutil import iter_modules

    modules = (import_module(f"{package.__name__}.{each.name}") for each in iter_modules(package.__path__))
    return next(getattr(module, name) for module in modules if hasattr(module, name))


def dictionary_learning_buffer(shape: dict[str, int]) -> Work:
    """`ActivationBuffer`'s draw, halfway between two refreshes; refreshing is not part of it."""
    import torch
    from dictionary_learning.buffer import ActivationBuffer

    buffer = ActivationBuffer(
        iter(()),
        SimpleNamespace(dtype=torch.bfloat16),
        None,
        d_submodule=shape["width"],
        n_ctxs=shape["buffer"],
        ctx_len=1,
        out_batch_size=shape["batch"],
    )
    buffer.activations = torch.ones(shape["buffer"], shape["width"], dtype=torch.bfloat16)
    read = torch.rand(shape["buffer"], generator=torch.Generator().manual_seed(0)) < 0.25

    def run() -> None:
        buffer.read = read.clone()
        next(buffer)

    return run


def sae_lens(kind: str) -> Callable[[dict[str, int]], Work]:
    """What `SAETrainer._train_step` does, less its bookkeeping."""

    def prepare(shape: dict[str, int]) -> Work:
        import torch
        from sae_lens import saes
        from sae_lens.saes.sae import TrainStepInput

        kept = {} if kind == "Standard" else {"k": shape["k"]}
        made, config = find(saes, f"{kind}TrainingSAE"), find(saes, f"{kind}TrainingSAEConfig")
        sae = made(config(d_in=shape["width"], d_sae=shape["latents"], device="cpu", **kept))
        optimiser, x = torch.optim.Adam(sae.parameters(), lr=1e-4), batch(shape)
        given = {"sae_in": x, "dead_neuron_mask": None, "n_training_steps": 5000, "is_logging_step": False}

        def run() -> None:
            sae.training_forward_pass(TrainStepInput(coefficients={"l1": 1.0}, **given)).loss.backward()
            torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()

        return run

    return prepare


def batch(shape: dict[str, int]) -> Any:
    """Activations of both models side by side: one wide vector a token."""
    import torch

    return torch.randn(shape["batch"], shape["width"], generator=torch.Generator().manual_seed(0))


def why(error: BaseException, distribution: str) -> str:
    """How to install what is missing, or what keeps it from being imported."""
    try:
        version(distribution)
    except PackageNotFoundError:
        return f"not installed: pip install {distribution}"
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{distribution} does not import: {error}"


WORKS: dict[str, tuple[str, Callable[[dict[str, int]], Work]]] = {
    "sparsify: topk": ("eai-sparsify", sparsify_topk),
    "dictionary_learning: batchtopk": ("dictionary-learning", dictionary_learning("BatchTopKTrainer")),
    "dictionary_learning: topk": ("dictionary-learning", dictionary_learning("TopKTrainer")),
    "dictionary_learning: l1": ("dictionary-learning", dictionary_learning("StandardTrainer")),
    "dictionary_learning: buffer": ("dictionary-learning", dictionary_learning_buffer),
    "sae_lens: batchtopk": ("sae-lens", sae_lens("BatchTopK")),
    "sae_lens: topk": ("sae-lens", sae_lens("TopK")),
    "sae_lens: l1": ("sae-lens", sae_lens("Standard")),
}


def main() -> None:
    """Say what can be timed here, then time what is asked for."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    shape = json.loads(sys.argv[1])
    ready: dict[str, Work] = {}
    said: dict[str, dict[str, str]] = {}
    for name, (distribution, prepare) in WORKS.items():
        try:
            import torch

            torch.set_num_threads(1)
            ready[name] = prepare(shape)
            said[name] = {"version": f"{distribution} {version(distribution)}, torch {torch.__version__}"}
        except ImportError as error:  # said in the table
            said[name] = {"missing": why(error, distribution)}
    print(json.dumps(said), file=answers)
    for line in sys.stdin:
        started = time.process_time()
        ready[line.strip()]()
        print(time.process_time() - started, file=answers)


if __name__ == "__main__":
    main()
