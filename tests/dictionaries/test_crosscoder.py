from collections.abc import Callable

import pytest
import torch

from toolkit.dictionaries.crosscoder import Crosscoder


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
    loaded = Crosscoder.from_pretrained(tmp_path / "run")
    assert loaded.config == made.config
    assert torch.equal(loaded(x), made(x))


def test_activations_of_a_smaller_type_are_taken_as_they_are(crosscoder):
    made, x = crosscoder("l1"), activations().bfloat16()
    assert torch.equal(made.encode(x), made.encode(x.float()))


def test_decoder_norms_are_per_stream(crosscoder):
    made = crosscoder("l1")
    expected = [[made.W_dec[k, s].square().sum().sqrt() for s in range(2)] for k in range(12)]
    torch.testing.assert_close(made.decoder_norms(), torch.tensor(expected))
