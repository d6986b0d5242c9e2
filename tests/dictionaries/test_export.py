import json
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.export import export_dictionary_learning


@pytest.fixture
def make(random_crosscoder) -> Callable[[str], Crosscoder]:
    return lambda sparsity: random_crosscoder(d_model=5, layers=(3,), sparsity=sparsity, k=4, scale=(0.5, 2.0))


def activations() -> torch.Tensor:
    return torch.randn(40, 2, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sparsity", ["l1", "batchtopk", "jumprelu"])
def test_the_formats_own_formulas_on_the_files_rebuild_the_same(make, tmp_path, sparsity) -> None:
    crosscoder, x = make(sparsity), activations()
    t = load_file(export_dictionary_learning(crosscoder, tmp_path / "out") / "model.safetensors")
    f = (torch.einsum("bld,ldf->bf", x, t["encoder.weight"]) + t["encoder.bias"]).relu()
    assert t["code_normalization_id"] == 4, "no normalisation: the threshold is on f itself"
    f = f * (f > t.get("threshold", torch.tensor(0.0)))
    rebuilt = torch.einsum("bf,lfd->bld", f, t["decoder.weight"]) + t["decoder.bias"]
    torch.testing.assert_close(rebuilt, crosscoder(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(f > 0, crosscoder.encode(x) > 0)
    assert t["activation_mean"].isnan().all()
    assert t["activation_std"].isnan().all()
    settings = json.loads((tmp_path / "out" / "config.json").read_text())
    expected = {"activation_dim": 5, "dict_size": 12, "num_layers": 2, "code_normalization": "NONE", "target_rms": 1.0}
    assert settings == (expected if sparsity == "l1" else expected | {"k": 4})


@pytest.mark.parametrize("sparsity", ["l1", "batchtopk"])
def test_read_again_it_is_the_same_crosscoder(make, tmp_path, sparsity) -> None:
    crosscoder, x = make(sparsity), activations()
    again = Crosscoder.from_pretrained(export_dictionary_learning(crosscoder, tmp_path), device="cpu")
    assert torch.equal(again.encode(x), crosscoder.encode(x))
    assert torch.equal(again(x), crosscoder(x))
    assert again.config.sparsity == sparsity


def test_jumprelu_comes_back_with_codes_in_units_of_its_thresholds(make, tmp_path) -> None:
    crosscoder, x = make("jumprelu"), activations()
    again = Crosscoder.from_pretrained(export_dictionary_learning(crosscoder, tmp_path), device="cpu")
    torch.testing.assert_close(again.encode(x) * crosscoder.threshold, crosscoder.encode(x))
    assert (again.config.sparsity, again.threshold.item()) == ("batchtopk", 1.0)


def test_topk_is_refused_before_anything_is_written(make, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"whose latents fire by topk: train with l1, batchtopk, jumprelu"):
        export_dictionary_learning(make("topk"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
