import pytest
import torch

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder

SHAPE = {"d_model": 4, "models": ("base", "distilled"), "layers": (3,), "n_latents": 12, "k": 2}


def crosscoder(sparsity: str) -> Crosscoder:
    made = Crosscoder(CrosscoderConfig(**SHAPE, sparsity=sparsity))
    generator = torch.Generator().manual_seed(0)
    for name, tensor in made.named_buffers():
        tensor.copy_(torch.randn(tensor.shape, generator=generator).abs() if name == "threshold" else
                     torch.randn(tensor.shape, generator=generator))  # fmt: skip
    return made


def activations() -> torch.Tensor:
    return torch.randn(9, 2, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sparsity", ["l1", "topk", "batchtopk", "jumprelu"])
def test_encode_and_decode_are_those_of_a_loop(sparsity):
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
def test_saved_and_loaded_again_it_is_the_same(tmp_path, sparsity):
    made, x = crosscoder(sparsity), activations()
    made.save_pretrained(tmp_path / "run")
    loaded = Crosscoder.from_pretrained(tmp_path / "run")
    assert loaded.config == made.config
    assert torch.equal(loaded(x), made(x))


def test_activations_of_a_smaller_type_are_taken_as_they_are():
    made, x = crosscoder("l1"), activations().bfloat16()
    assert torch.equal(made.encode(x), made.encode(x.float()))


def test_decoder_norms_are_per_stream():
    made = crosscoder("l1")
    expected = [[made.W_dec[k, s].square().sum().sqrt() for s in range(2)] for k in range(12)]
    torch.testing.assert_close(made.decoder_norms(), torch.tensor(expected))
