"""The truth is the reference, torch's own sparse matrices."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numba
import pytest
import torch

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.sparse_codes import SparsePattern
from toolkit.dictionaries.sparse_products import choosing, compiled, compiling
from toolkit.dictionaries.sparse_products.choosing import products_for, products_of
from toolkit.dictionaries.sparse_products.compiled import COMPILED
from toolkit.dictionaries.sparse_products.plain import PLAIN
from toolkit.dictionaries.sparse_products.products import SparseProducts
from toolkit.library_warnings import ToolkitWarning

CPU = torch.device("cpu")
SHAPES = {  # latents, tokens, width, nonzeros
    "most rows of a few": (50, 40, 45, 300),
    "most rows empty": (80, 9, 16, 3),
    "all rows empty": (30, 20, 32, 0),
    "one token": (40, 1, 15, 25),
    "one of each": (1, 1, 1, 1),
    "every entry": (6, 11, 96, 66),
    "whole blocks of columns": (20, 30, 128, 200),
}


@pytest.fixture(autouse=True)
def threads_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def results(
    products: SparseProducts, latents: int, tokens: int, width: int, nonzeros: int, seed: int = 0
) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randperm(latents * tokens, generator=generator)[:nonzeros].sort().values
    pattern = SparsePattern.from_flat(flat, (latents, tokens))
    x, error, start = torch.randn(3, tokens, width, generator=generator)
    W_enc, W_dec = torch.randn(2, latents, width, generator=generator)
    bias, codes = torch.randn(latents, generator=generator), torch.rand(nonzeros, generator=generator)
    out = (torch.full_like(W_enc, float("nan")), torch.full_like(W_dec, float("nan")))
    return (
        products.codes(pattern, W_enc, bias, x),
        products.decode(pattern, codes, W_dec, start),
        *products.weight_gradients(pattern, codes, x, error, W_dec, out).with_squares(),
        *coordinates_and_values(products, x),
    )


def coordinates_and_values(products: SparseProducts, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    pattern, values = products.above(x, torch.full((len(x),), 0.5))
    return pattern.rows, pattern.columns, values


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_all_products_are_the_reference_s(shape, seed):
    for found, truth in zip(results(COMPILED, *shape, seed), results(PLAIN, *shape, seed), strict=True):
        assert found.shape == truth.shape
        assert (found - truth).float().norm() <= 1e-5 * truth.float().norm()


@pytest.mark.parametrize("threads", [2, 3, 64])
def test_the_number_of_threads_changes_no_bit(monkeypatch, threads):
    monkeypatch.setattr(compiling, "LEAST_WORK", 0)
    for shape in SHAPES.values():
        torch.set_num_threads(1)
        alone = results(COMPILED, *shape)
        torch.set_num_threads(threads)
        assert all(map(torch.equal, results(COMPILED, *shape), alone))


def test_two_trainings_may_run_at_once(monkeypatch):
    monkeypatch.setattr(compiling, "LEAST_WORK", 0)
    torch.set_num_threads(2)
    shape = SHAPES["most rows of a few"]
    alone = [results(COMPILED, *shape, seed) for seed in range(8)]
    with ThreadPoolExecutor(2) as trainings:
        at_once = trainings.map(lambda seed: results(COMPILED, *shape, seed), range(8))
        assert all(all(map(torch.equal, *pair)) for pair in zip(at_once, alone, strict=True))


def test_what_is_not_finite_stays_so():
    pattern = SparsePattern.from_flat(torch.arange(5), (1, 5))
    x = torch.ones(5, 20)
    x[4, 7] = torch.nan
    x[2, 3] = torch.inf
    codes = COMPILED.codes(pattern, torch.ones(1, 20), torch.zeros(1), x)
    assert codes.tolist()[:2] == [20, 20]
    assert codes[2].isinf()
    assert codes[4].isnan()


def test_without_a_folder_for_compiled_code_it_is_compiled_each_time(monkeypatch):
    njit = numba.njit

    def refuse(function, **options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function")
        return njit(function, **options)

    monkeypatch.setattr(numba, "njit", refuse)
    assert compiling.compiled(abs_of_one)() == 1


def abs_of_one() -> int:
    return abs(-1)


def test_a_cpu_takes_them_unless_torch_s_are_asked_for_or_numba_is_missing(monkeypatch):
    assert products_for(CPU) is COMPILED
    assert products_for(CPU, "torch") is PLAIN
    assert products_for(torch.device("meta")) is PLAIN
    monkeypatch.setattr("toolkit.dictionaries.sparse_products.choosing.find_spec", lambda name: None)
    assert products_for(CPU) is PLAIN


@pytest.fixture
def chosen_anew() -> Iterator[None]:
    choosing._compiled.cache_clear()
    yield
    choosing._compiled.cache_clear()


def test_a_numba_that_numpy_is_too_new_for_gives_way_to_torch_and_is_told_once(monkeypatch, chosen_anew):
    monkeypatch.setitem(sys.modules, compiled.__name__, None)  # its import raises ImportError
    with pytest.warns(ToolkitWarning, match="numba cannot be imported .*: torch computes .* install a numba"):
        assert products_of(TrainingConfig(sparsity="topk"), CPU) is PLAIN
    assert products_for(CPU) is PLAIN


def test_rules_that_multiply_no_single_codes_neither_take_numba_nor_miss_it(monkeypatch, chosen_anew):
    monkeypatch.setitem(sys.modules, compiled.__name__, None)
    for dense in ("l1", "jumprelu"):
        assert products_of(TrainingConfig(sparsity=dense), CPU) is PLAIN


def test_numba_is_imported_where_its_products_are_taken():
    begin = "import sys, torch; from toolkit.dictionaries.training import TrainingConfig, products_of; "
    for rule, imported in (("l1", False), ("batchtopk", True)):
        takes = f"products_of(TrainingConfig(sparsity={rule!r}), torch.device('cpu')); "
        says = f"{begin}{takes}sys.exit(('numba' in sys.modules) != {imported})"
        assert subprocess.run([sys.executable, "-c", says]).returncode == 0
