"""The kernels are interpreted on a CPU, which is slow: shapes are small. The truth is torch's sparse products."""

import subprocess
import sys
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products import choosing
from toolkit.dictionaries.sparse_products.checked import Trial, checked
from toolkit.dictionaries.sparse_products.choosing import products_for
from toolkit.dictionaries.sparse_products.plain import PLAIN
from toolkit.dictionaries.sparse_products.products import WeightGradients
from toolkit.dictionaries.training import CrosscoderTrainer
from toolkit.library_warnings import ToolkitWarning

triton_products = pytest.importorskip("toolkit.dictionaries.sparse_products.triton").triton_products
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
N_LATENTS, N_TOKENS, WIDTH = 6, 21, 520  # some more than a program holds at once


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(DEVICE)


@pytest.fixture
def pattern() -> SparsePattern:
    """Latents that fire on all tokens, on none (two of them, the last among these), on one, and on some."""
    fires = torch.zeros(N_LATENTS, N_TOKENS, dtype=torch.bool)
    fires[0], fires[2, 20], fires[3, ::2], fires[4, 3:8] = True, True, True, True
    return SparsePattern.from_flat(fires.flatten().nonzero().squeeze(1).to(DEVICE), (N_LATENTS, N_TOKENS))


def results(products, pattern: SparsePattern, width: int = WIDTH) -> list[Tensor]:
    W_enc, W_dec, x, error = drawn(N_LATENTS, width), drawn(N_LATENTS, width), drawn(N_TOKENS, width), drawn(21, width)
    codes, out = drawn(len(pattern.rows)), tuple(torch.full_like(W_enc, torch.nan) for _ in range(2))
    return [
        products.codes(pattern, W_enc, drawn(N_LATENTS), x),
        products.decode(pattern, codes, W_dec, drawn(N_TOKENS, width)),
        *products.weight_gradients(pattern, codes, x, error, W_dec, out).with_squares(),
    ]


@pytest.mark.parametrize("split", [256, 8, 1], ids=["none", "of more than one load", "all but one"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_all_products_are_those_of_torch(pattern: SparsePattern, dtype: torch.dtype, bound: float, split: int) -> None:
    found, expected = results(triton_products(dtype, split), pattern), results(PLAIN, pattern)
    for each, truth in zip(found, expected, strict=True):
        assert (each - truth).norm() <= bound * truth.norm()
    gradients = found[2:]
    assert all(each[silent].eq(0).all() for each in gradients for silent in (1, 5))


@pytest.mark.parametrize("split", [256, 8], ids=["by a latent's own program", "some by several"])
def test_squares_are_those_of_the_rows_that_were_written(pattern: SparsePattern, split: int) -> None:
    *_, W_enc, _, W_dec, squares = results(triton_products(torch.bfloat16, split), pattern)
    torch.testing.assert_close(squares, W_enc.square().sum(dim=1) + W_dec.square().sum(dim=1))


def test_a_width_below_a_program_s_and_an_empty_pattern_are_no_exception(pattern: SparsePattern) -> None:
    none = pattern.restricted(torch.empty(0, dtype=torch.long, device=DEVICE))
    for some in (pattern, none):
        for each, truth in zip(results(triton_products(torch.float32), some, 5), results(PLAIN, some, 5), strict=True):
            torch.testing.assert_close(each, truth)


def test_results_are_the_same_each_time(pattern: SparsePattern) -> None:
    products = triton_products(torch.float32, split=8)
    for first, second in zip(results(products, pattern), results(products, pattern), strict=True):
        assert torch.equal(first, second)


def test_a_first_call_that_agrees_is_the_kernels_own(pattern: SparsePattern) -> None:
    products = triton_products(torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = results(checked([Trial(products, 1e-5)], "kernels triton"), pattern)
    for each, own in zip(found, results(products, pattern), strict=True):
        assert torch.equal(each, own)


def wrong(pattern: SparsePattern, *arguments: Tensor) -> Tensor:
    return PLAIN.codes(pattern, *arguments) * 1.001


def broken(pattern: SparsePattern, *arguments: Tensor) -> Tensor:
    arguments[-1].zero_()
    raise RuntimeError("no compiler\nbut much to say")


@pytest.mark.parametrize(
    ("codes", "said"),
    [(wrong, r"differs by 0\.001 of the norm, more than 1e-05"), (broken, r"failed \(RuntimeError: no compiler\)")],
)
def test_where_a_first_call_fails_torch_takes_over_and_nothing_is_lost(pattern: SparsePattern, codes, said) -> None:
    tried = checked([Trial(PLAIN, 1e-5), Trial(replace(PLAIN, codes=codes), 1e-5)], "kernels triton")
    with pytest.warns(ToolkitWarning, match=f"plain's codes {said}: torch computes it .* leave out kernels triton"):
        found = results(tried, pattern)
    for each, truth in zip(found + results(tried, pattern), 2 * results(PLAIN, pattern), strict=True):
        assert torch.equal(each, truth)


@pytest.mark.parametrize("name", ["W_enc", "b_enc", "W_dec", "row_squares"])
def test_a_kernel_that_gives_nan_in_any_tensor_is_left_to_torch(pattern: SparsePattern, name: str) -> None:
    def with_nan(*arguments: Any) -> WeightGradients:
        gradients = PLAIN.weight_gradients(*arguments).with_squares()
        getattr(gradients, name)[3] = torch.nan
        return gradients

    tried = checked([Trial(replace(PLAIN, weight_gradients=with_nan), 1e-5)], "kernels triton")
    with pytest.warns(ToolkitWarning, match="plain's weight_gradients differs by inf of the norm"):
        found = results(tried, pattern)
    assert all(map(torch.equal, found, results(PLAIN, pattern)))


def test_a_first_call_without_nonzeros_or_with_nan_settles_nothing(pattern: SparsePattern) -> None:
    tried = checked([Trial(replace(PLAIN, codes=wrong), 1e-5)], "kernels triton")
    none = pattern.restricted(torch.empty(0, dtype=torch.long, device=DEVICE))
    W, b, x = drawn(N_LATENTS, WIDTH), drawn(N_LATENTS), drawn(N_TOKENS, WIDTH)
    tried.codes(none, W, b, x)
    tried.codes(pattern, W, b, x * torch.nan)
    with pytest.warns(ToolkitWarning, match="differs"):
        tried.codes(pattern, W, b, x)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_trainer_takes_the_same_steps_with_either(precision: str) -> None:
    choosing._checked_triton.cache_clear()
    x, norms = drawn(12, 2, 8), {}
    for kernels in ("torch", "triton"):
        training = TrainingConfig(
            n_latents=16, k=3, k_initial=3, batch_tokens=12, tokens=24, precision=precision, kernels=kernels
        )
        state = initialise(training, 2, x, torch.Generator().manual_seed(1))
        trainer = CrosscoderTrainer(training, state, models=("base", "distilled"), layers=(0,))
        norms[kernels] = [trainer.step(x).grad_norm for _ in range(2)]
    assert norms["triton"] == pytest.approx(norms["torch"], rel=1e-2 if precision == "bf16" else 1e-5)


def test_triton_is_refused_where_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(
        ValueError, match="kernels triton: it compiles for CUDA devices, and the weights are on cpu: giv"
    ):
        products_for(torch.device("cpu"), "triton")
    monkeypatch.setattr(choosing, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="kernels triton: the package triton is not installed"):
        products_for(torch.device("cuda"), "triton")


COMPILING = """
import re, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from toolkit.dictionaries.sparse_products import triton_kernels

INTEGERS = {"starts": "*i32", "columns": "*i32", "listed": "*i64", "width": "i32", "split": "i32"}
ADDED = {"row_products": {"segment": 64, "of_list": True}, "gathered_sums": {"adds": True, "of_list": True}}
for name in ("row_products", "gathered_sums", "latent_gradients"):
    kernel, constant = getattr(triton_kernels, name), ADDED.get(name, {})
    types = {each: "constexpr" if each in constant else INTEGERS.get(each, "*fp32") for each in kernel.arg_names}
    constants = {(kernel.arg_names.index(each),): value for each, value in constant.items()}
    source = ASTSource(fn=kernel, signature=types, constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": True})
    assert made.asm["cubin"] and "atom" not in made.asm["ptx"]
"""


def test_the_kernels_compile_for_an_h100_without_atomics(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    done = subprocess.run([sys.executable, "-W", "error", "-c", COMPILING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
