import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from toolkit.dictionaries import storage
from toolkit.dictionaries.crosscoder import Crosscoder, check_latents


@pytest.fixture
def crosscoder(random_crosscoder) -> Callable[[str], Crosscoder]:
    return lambda sparsity: random_crosscoder(d_model=4, layers=(3,), sparsity=sparsity, k=2)


def activations() -> torch.Tensor:
    return torch.randn(9, 2, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sparsity", ["l1", "topk", "batchtopk", "jumprelu"])
def test_encode_and_decode_are_those_of_a_loop(crosscoder, sparsity):
    made, x = crosscoder(sparsity), activations()
    codes = made.encode(x)
    for token in range(9):
        activity = torch.stack([(made.W_enc[k] * x[token]).sum() + made.b_enc[k] for k in range(12)]).clamp(min=0)
        kept = {
            "l1": activity > 0,
            "topk": activity >= activity.sort().values[-2],
            "batchtopk": activity > made.threshold if sparsity == "batchtopk" else None,
            "jumprelu": activity > made.threshold if sparsity == "jumprelu" else None,
        }[sparsity]
        torch.testing.assert_close(codes[token], activity * kept)
        rebuilt = made.b_dec + sum(codes[token, k] * made.W_dec[k] for k in range(12))
        torch.testing.assert_close(made(x)[token], rebuilt)


@pytest.mark.parametrize("sparsity", ["l1", "topk", "batchtopk", "jumprelu"])
def test_saved_and_loaded_again_it_is_the_same(crosscoder, tmp_path, sparsity):
    made, x = crosscoder(sparsity), activations()
    made.save_pretrained(tmp_path / "run")
    loaded = Crosscoder.from_pretrained(tmp_path / "run", device="cpu")
    assert loaded.config == made.config
    assert torch.equal(loaded(x), made(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_activations_of_any_type_are_taken_as_they_are(crosscoder, dtype):
    made, x = crosscoder("l1"), activations().to(dtype)
    codes = made.encode(x)
    assert torch.equal(codes, made.encode(x.float()))
    assert torch.equal(made.decode(codes.to(dtype)), made.decode(codes.to(dtype).float()))


@pytest.mark.parametrize("sparsity", ["l1", "topk", "batchtopk", "jumprelu"])
@pytest.mark.parametrize("lead", [(3, 3), (), (1, 9, 1), (0,), (2, 0)], ids=str)
def test_tokens_may_stand_on_any_axes(crosscoder, sparsity, lead):
    made = crosscoder(sparsity)
    flat = activations()[: math.prod(lead)]
    x = flat.view(*lead, 2, 4)
    assert torch.equal(made.encode(x), made.encode(flat).view(*lead, 12))
    assert torch.equal(made.decode(made.encode(x)), made.decode(made.encode(flat)).view(*lead, 2, 4))
    assert torch.equal(made(x), made(flat).view(*lead, 2, 4))


def test_arrays_and_lists_are_activations_too(crosscoder):
    made, x = crosscoder("l1"), activations()
    for values in (x.numpy(), x.double().numpy(), x.tolist()):
        assert torch.equal(made.encode(values), made.encode(x))
        assert torch.equal(made.decode(made.encode(values).numpy()), made(x))


@pytest.mark.parametrize("shape", [(9, 3, 4), (9, 2, 5), (9, 4, 2), (9, 8), (4,), (), (2, 4, 9)], ids=str)
def test_activations_of_another_shape_are_refused_by_shape(crosscoder, shape):
    made = crosscoder("l1")
    expected = (
        f"activations of shape {shape}: this crosscoder takes [..., stream, d_model], whose last axes must be"
        " (2, 4); give its streams in this order: base, distilled"
    )
    with pytest.raises(ValueError, match=re.escape(expected)):
        made.encode(torch.zeros(shape).numpy())
    if shape and shape[-1] != 12:
        with pytest.raises(ValueError, match=re.escape(f"codes of shape {shape}: this crosscoder takes [..., latent]")):
            made.decode(torch.zeros(shape))


def test_what_is_no_tensor_at_all_is_named(crosscoder):
    with pytest.raises(ValueError, match="activations are str: give a tensor or an array"):
        crosscoder("l1").encode("Wait")


def test_it_is_loaded_in_the_type_and_on_the_device_that_are_named(crosscoder, tmp_path):
    made = crosscoder("batchtopk")
    made.save_pretrained(tmp_path)
    for dtype in ("bf16", torch.bfloat16):
        loaded = Crosscoder.from_pretrained(str(tmp_path), dtype=dtype, device=torch.device("cpu"))
        assert {tensor.dtype for tensor in loaded.buffers()} == {torch.bfloat16}
        assert torch.equal(loaded.W_dec, made.W_dec.bfloat16())
        assert loaded(activations()).dtype == torch.bfloat16
    assert Crosscoder.from_pretrained(tmp_path, device="cpu").to(torch.float64)(activations()).dtype == torch.float64
    with pytest.raises(ValueError, match="dtype 'int8' is no floating-point type"):
        Crosscoder.from_pretrained(tmp_path, dtype="int8")
    with pytest.raises(ValueError, match="device 'gpu' is not known"):
        Crosscoder.from_pretrained(tmp_path, device="gpu")


@pytest.mark.parametrize("source", [None, 3, b"run", ""])
def test_a_source_that_is_no_path_is_named(source):
    with pytest.raises(ValueError, match=re.escape(f"source {source!r}: give a folder, a file or the name")):
        storage.locate(source, None, [], [])


def test_a_path_may_begin_at_home(crosscoder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    crosscoder("l1").save_pretrained(tmp_path / "run")
    assert Crosscoder.from_pretrained("~/run").config == crosscoder("l1").config


def test_latents_are_ints_in_the_order_given_or_refused():
    assert check_latents(torch.tensor([5, 0, 5]), 6) == [5, 0, 5]
    assert check_latents(np.int64(0), 6) == [0]
    for latents, message in (
        ([], "no latent is named"),
        (-1, "latent -1 does not exist: the crosscoder has latents 0 to 5"),
        (torch.tensor([0, 6]), "latent 6 does not exist"),
        ([0, 1.0], "latent 1.0 is not a whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            check_latents(latents, 6)


def test_decoder_norms_are_per_stream(crosscoder):
    made = crosscoder("l1")
    expected = [[made.W_dec[k, s].square().sum().sqrt() for s in range(2)] for k in range(12)]
    torch.testing.assert_close(made.decoder_norms(), torch.tensor(expected))


def test_it_says_in_two_lines_what_it_is_and_where_it_is_from(random_crosscoder, tmp_path):
    made = random_crosscoder(sparsity="topk", k=3, layers=(2, 4), sources=("some/base", "some/distilled"))
    assert repr(made) == (
        "Crosscoder: 12 latents, topk, k 3, d_model 32\n"
        "  of base (some/base), distilled (some/distilled); inputs of layers 2, 4"
    )
    made.save_pretrained(tmp_path)
    assert repr(Crosscoder.from_pretrained(str(tmp_path))) == f"{made!r}; from {tmp_path}"
    unnamed = random_crosscoder(layers=(-1,))
    assert repr(unnamed).endswith("  of base, distilled; input of 1 unknown layer")
